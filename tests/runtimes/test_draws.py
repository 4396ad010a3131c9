"""Draws in all parts of an algorithm are the run's: the same everywhere, and after a pause."""

from contextlib import ExitStack
from functools import cache
from operator import itemgetter

import numpy as np
import pytest
import torch

from raydl.algorithms import FedAvg
from raydl.core import tree
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.runtimes.serving import ParameterServer
from raydl.runtimes.simulated import Simulated
from raydl.runtimes.specs import Actors, OneProcess
from tests.drawing import EVERYONE, course, drawing, gathering
from tests.federation import RUNTIMES, federation, final, fingerprints, relative_distance, train
from tests.processes import Processes

SPECS = RUNTIMES | {"simulated": Simulated(), "server": ParameterServer()}


def problem_of_drawing():
    return federation(drawing(), partition=IID(), clients=4, block_size=2, seed=3)


@cache
def expected(batched: bool) -> list[str]:
    problem = problem_of_drawing()
    with RUNTIMES["batched" if batched else "sequential"].open(problem) as runtime:
        return fingerprints(train(problem, runtime, cohorts=EVERYONE))


@pytest.mark.parametrize("name", SPECS)
def test_they_are_the_same_everywhere_and_after_a_pause(name, request):
    spec = SPECS[name]
    if not isinstance(spec, OneProcess):
        request.getfixturevalue("cluster")
    problem, before = problem_of_drawing(), torch.get_rng_state()
    with ExitStack() as stack:
        runtime = stack.enter_context(spec.open(problem))
        one = train(problem, runtime, 2, cohorts=EVERYONE)
        kept, state = runtime.kept(), one[-1].state
        if isinstance(spec, Actors | OneProcess):
            runtime.restore({})
            again = train(problem, runtime, 2, cohorts=EVERYONE)
            assert fingerprints(again) == fingerprints(one)
        runtime.restore(kept)
        one += train(problem, runtime, 1, start=2, state=state, cohorts=EVERYONE)
    if name == "server":  # which adds up client by client
        with RUNTIMES["sequential"].open(problem) as runtime:
            alone = train(problem, runtime, cohorts=EVERYONE)
        assert relative_distance(problem, final(problem, one), final(problem, alone)) < 1e-5
    else:
        assert fingerprints(one) == expected("batched" in name)
    assert len(set(expected(False) + expected(True))) == 6
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_that_add_up_draw_the_same():
    problem = problem_of_drawing()
    given = Processes(2).drive(problem, course, None, None)
    with RUNTIMES["sequential"].open(problem) as runtime:
        alone = final(problem, train(problem, runtime, 3, cohorts=EVERYONE))
    assert relative_distance(problem, given, alone) < 1e-5


def test_shards_draw_each_for_its_own_part(cluster):
    """Of a server that draws for its parameters; twice the same, and no two parts alike."""

    def server(state, mean):
        noisy = tree.map(lambda leaf: torch.randn(leaf.shape), state["params"])
        return {"params": noisy}, {}

    fedavg = FedAvg(lr=0.1).build()._replace(server=server, elementwise=True)
    problem = federation(fedavg, partition=IID(), clients=2)
    drawn = []
    for _ in range(2):
        with ParameterServer(shards=2).open(problem) as runtime:
            drawn += train(problem, runtime, 1, cohorts=[np.arange(2)])
    assert len(set(fingerprints(drawn))) == 1
    entries = torch.cat([leaf.flatten() for leaf in final(problem, drawn).values()])
    assert len(entries.unique()) > 0.99 * len(entries)
    assert set(parameters(problem.task.model)) == set(final(problem, drawn))


@pytest.mark.parametrize("shards", [1, 2])
def test_a_rule_that_gathers_updates_works_on_a_parameter_server(cluster, shards):
    problem = federation(gathering(), partition=IID(), clients=3)
    cohorts = [np.arange(3)] * 3
    with RUNTIMES["sequential"].open(problem) as runtime:
        alone = train(problem, runtime, 3, cohorts=cohorts)
    with ParameterServer(shards=shards).open(problem) as runtime:
        given = train(problem, runtime, 3, cohorts=cohorts)
    assert fingerprints(given) == fingerprints(alone)


def test_what_a_client_keeps_must_keep_its_structure():
    fedavg = FedAvg(lr=0.1, batch_size=16, epochs=1).build()
    client = fedavg.client

    def grows(broadcast, local):
        return itemgetter(0)(client.final(broadcast, local)), {"new": torch.ones(2)}

    problem = federation(fedavg._replace(client=client._replace(final=grows)), clients=2)
    for name in ("sequential", "batched"):
        with (
            RUNTIMES[name].open(problem) as runtime,
            pytest.raises(
                ValueError, match=r"one structure.* new is not there at the start .*\[2\]"
            ),
        ):
            train(problem, runtime, 1, fraction=1.0)
