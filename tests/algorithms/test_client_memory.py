"""FedVARP, MIFA and FedFade: a table of what all sent last, which the server need not have."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from raydl.algorithms import MIFA, FedAvg, FedFade, FedVARP
from raydl.core import tree
from raydl.core.algorithm import Scope, Update, Work
from raydl.core.errors import SpecError
from raydl.core.grad import Gradients, parameters
from raydl.round import server_step
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import by_client, federation, final, relative_distance, train

OPTIONS = {"lr": 0.05, "batch_size": 16, "epochs": 2}
COHORTS = [np.array(each) for each in ([0, 5, 2], [5, 7], [2, 3, 11, 0], [5, 2])]


def problem_of(spec):
    problem = federation(FedAvg().build())
    sizes = torch.from_numpy(problem.partition.sizes)
    return replace(problem, algorithm=spec.build(Scope(sizes=sizes)))


def movements(params, cohort, number):
    """What each client of a cohort moves by, as FedAvg has it."""
    fedavg = problem_of(FedAvg(**OPTIONS))
    for client in cohort.tolist():
        work = Work(number, (client,), fedavg.algorithm.plan({}))
        done = server_step(LocalRuntime(fedavg), fedavg.algorithm, {"params": params}, work)
        yield client, tree.sub(done.state["params"], params)


def mean(values, weights):
    total = sum(weights)
    return tree.map(
        lambda *leaves: sum(w * each for w, each in zip(weights, leaves, strict=True)) / total,
        *values,
    )


@pytest.mark.parametrize("weighing", ["samples", "clients"])
@pytest.mark.parametrize("kind", [FedVARP, MIFA, partial(FedFade, memory=0.7)])
def test_it_is_what_a_table_of_all_clients_gives(kind, weighing):
    """The papers' algorithms, with N × P numbers at the server."""
    problem = problem_of(kind(weighing=weighing, server_lr=0.8, **OPTIONS))
    history = train(problem, LocalRuntime(problem), len(COHORTS), cohorts=COHORTS)
    params = parameters(problem.task.model)
    sizes = problem.partition.sizes.astype(float) if weighing == "samples" else np.ones(12)
    table = [tree.zeros_like(params)] * len(sizes)
    memory, left = kind().memory if isinstance(kind, partial) else 1.0, np.zeros(12)
    for number, cohort in enumerate(COHORTS):
        moved = dict(movements(params, cohort, number))
        changes = [tree.sub(moved[client], table[client]) for client in cohort]
        corrected = tree.add(mean(changes, sizes[cohort]), mean(table, sizes))
        table = [moved.get(client, each) for client, each in enumerate(table)]
        left *= memory
        left[cohort] = 1
        of_seen = mean(table, left * sizes)
        step = corrected if kind is FedVARP else of_seen
        params = tree.add(params, tree.scale(step, 0.8))
    assert relative_distance(problem, final(problem, history), params) < 1e-5


@pytest.mark.parametrize("kind", [FedVARP, MIFA])
def test_the_servers_mean_is_that_of_what_the_clients_keep(kind):
    problem = problem_of(kind(**OPTIONS))
    runtime = LocalRuntime(problem)
    history = train(problem, runtime, len(COHORTS), cohorts=COHORTS)
    kept, sizes = by_client(runtime.state().clients), problem.partition.sizes
    everyone = sizes.sum() if kind is FedVARP else sum(sizes[client] for client in kept)
    sums = mean([each["delta"] for each in kept.values()], [sizes[client] for client in kept])
    expected = tree.scale(sums, sum(sizes[client] for client in kept) / everyone)
    torch.testing.assert_close(history[-1].state["memory"], expected, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("kind", [FedVARP, MIFA])
def test_where_all_take_part_it_is_fedavg(kind):
    ours, fedavg = (problem_of(spec(**OPTIONS)) for spec in (kind, FedAvg))
    ends = (
        final(each, train(each, LocalRuntime(each), 3, fraction=1.0)) for each in (ours, fedavg)
    )
    assert relative_distance(ours, *ends) < 1e-5


@pytest.mark.parametrize(("memory", "kind"), [(0.0, FedAvg), (1.0, MIFA)])
def test_a_memory_of_nothing_is_fedavg_and_one_that_never_fades_mifa(memory, kind):
    ours, theirs = (
        problem_of(spec) for spec in (FedFade(memory=memory, **OPTIONS), kind(**OPTIONS))
    )
    ends = (
        final(each, train(each, LocalRuntime(each), len(COHORTS), cohorts=COHORTS))
        for each in (ours, theirs)
    )
    assert relative_distance(ours, *ends) < 1e-5


@pytest.mark.parametrize("kind", [MIFA, FedFade])
def test_the_first_step_is_fedavgs(kind):
    ours, fedavg = (problem_of(spec(**OPTIONS)) for spec in (kind, FedAvg))
    ends = (final(each, train(each, LocalRuntime(each), 1)) for each in (ours, fedavg))
    assert relative_distance(ours, *ends) < 1e-5


def test_fedvarp_must_know_the_clients():
    with pytest.raises(SpecError, match="FedVARP needs the number of clients"):
        FedVARP().build()


def test_a_memory_that_grows_is_refused():
    with pytest.raises(SpecError, match=r"algorithm.memory is 1.5; it must be in \[0, 1\]"):
        FedFade(memory=1.5)


def averaged(spec, rounds=400):
    """Where quadratic clients of one number pull to: 0 always there, 1 in each tenth round.

    Client k minimizes (w − k)² / 2; the mean over the last rounds.
    """
    algorithm = spec.build(Scope(sizes=torch.tensor([9, 9])))
    state, kept, path = algorithm.init({"w": torch.zeros(())}), {}, []
    for number in range(rounds):
        broadcast, accumulator = algorithm.broadcast(state), algorithm.reduce.zero()
        for client in [0, 1] if number % 10 == 0 else [0]:

            def gradient(params, batch, goal=client):
                return Gradients({"w": params["w"] - goal}, {}, {})

            own = kept.get(client, algorithm.client.initial_state(broadcast))
            local = algorithm.client.init(broadcast, own)
            local, _ = algorithm.client.step(gradient, local, None)
            message, kept[client] = algorithm.client.final(broadcast, local)
            accumulator = algorithm.reduce.add(accumulator, Update(message, 9, client))
        state, _ = algorithm.server(state, algorithm.reduce.result(accumulator))
        path.append(float(state["params"]["w"]))
    return sum(path[-100:]) / 100


def test_a_client_that_comes_seldom_has_its_say():
    """Both together are at their minimum at 1 / 2; FedAvg is drawn to whom it always meets."""
    given = {kind: averaged(kind(lr=0.02)) for kind in (FedAvg, FedVARP, FedFade, MIFA)}
    assert given[FedAvg] < 0.1
    assert given[MIFA] == pytest.approx(0.5, abs=0.02)
    assert given[FedVARP] == pytest.approx(0.5, abs=0.1)
    assert given[FedFade] == pytest.approx(0.5, abs=0.05)
