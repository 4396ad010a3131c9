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
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import OneProcess
from raydl.runtimes.parameter_server.spec import ShardedServer
from raydl.runtimes.runtime import RuntimeState
from raydl.runtimes.simulated.spec import Simulated
from tests.drawing import EVERYONE, drawing, gathering, loop
from tests.federation import (
    RUNTIMES,
    by_client,
    federation,
    final,
    fingerprints,
    relative_distance,
    train,
)
from tests.processes import Processes

SPECS = RUNTIMES | {"simulated": Simulated(), "server": ShardedServer()}


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
        kept, state = runtime.state(), one[-1].state
        if isinstance(spec, Actors | OneProcess):
            runtime.restore(RuntimeState())
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
    given = Processes(2).launch(problem, loop, None, None)
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
        with ShardedServer(shards=2).open(problem) as runtime:
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
    with ShardedServer(shards=shards).open(problem) as runtime:
        given = train(problem, runtime, 3, cohorts=cohorts)
    assert fingerprints(given) == fingerprints(alone)


@pytest.mark.parametrize("shape", [(), (3,)])
@pytest.mark.parametrize("name", ["sequential", "batched"])
def test_what_a_client_keeps_may_be_a_tensor_alone(name, shape):
    """Also one that is zero, which is not the same as nothing."""
    fedavg = FedAvg(lr=0.1, batch_size=16, epochs=1).build()
    client = fedavg.client._replace(
        init=lambda broadcast, kept: fedavg.client.init(broadcast, {}) | {"kept": kept},
        step=lambda gradient, local, batch: _beside(fedavg.client.step, gradient, local, batch),
        final=lambda broadcast, local: (
            fedavg.client.final(broadcast, local)[0],
            local["kept"] + 1,
        ),
        initial_state=lambda broadcast: torch.full(shape, -2.0),
    )
    problem = federation(fedavg._replace(client=client), clients=2)
    with RUNTIMES[name].open(problem) as runtime:
        for turns in (1, 2, 3):
            train(problem, runtime, 1, fraction=1.0)
            kept = by_client(runtime.state().clients)
            assert kept.keys() == {0, 1}
            for each in kept.values():
                assert torch.equal(each, torch.full(shape, turns - 2.0))


def _beside(step, gradient, local, batch):
    after, metrics = step(gradient, local, batch)
    return after | {"kept": local["kept"]}, metrics


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
