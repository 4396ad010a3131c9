from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
import torch

from raydl.algorithms import FedAvg, FedSGD
from raydl.core import tree
from raydl.core.algorithm import Plan
from raydl.core.grad import parameters
from raydl.data import Natural, Tensors
from raydl.round import NonFiniteError, rounds
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.runtime import RuntimeState
from tests.federation import federation, fingerprints, keeping, mlp, train

POISONED = 2  # holds a sample that is infinite


@pytest.fixture
def poisoned():
    """Six clients, the third of which cannot but send what is not finite."""
    draws = torch.Generator().manual_seed(0)
    owners = torch.arange(6).repeat_interleave(torch.tensor([4, 9, 2, 7, 5, 13]))
    inputs = torch.randn(len(owners), 8, generator=draws)
    targets = (inputs[:, 0] > 0).long()
    inputs[owners == POISONED] = torch.inf
    data = Tensors(inputs, targets, owners=owners, validation=0, test=0).load()
    return federation(
        keeping(Plan(4, epochs=2)), mlp(data), data, Natural(), clients=6, block_size=1
    )


def test_a_client_that_is_not_finite_ends_the_run_and_is_named(poisoned):
    cohorts = [[0, 3], [4, POISONED, 1]]
    with pytest.raises(NonFiniteError, match=f"round 2: the update of client {POISONED} holds"):
        train(poisoned, LocalRuntime(poisoned), cohorts=map(np.array, cohorts))


@pytest.mark.parametrize("runtime", ["sequential", "batched", "actors-1"], indirect=True)
def test_dropped_updates_leave_no_trace(poisoned, runtime):
    """With it first, last, alone and in the midst: nothing but its absence is to be seen."""
    cohorts = [[POISONED, 1, 3], [0, POISONED, 4, 5], [POISONED], [3, 1, POISONED]]
    opened = runtime(poisoned)
    given = train(poisoned, opened, cohorts=map(np.array, cohorts), on_nonfinite="drop")
    assert [each.number for each in given] == [1, 2, 3, 4]
    assert [each.messages for each in given] == [6, 8, 2, 6]
    assert fingerprints(given[1:2]) == fingerprints(given[2:3])  # a round of none but it
    for each, cohort in zip(given, cohorts, strict=True):
        finite = [client != POISONED for client in cohort]
        assert each.clients["finite"].bool().tolist() == finite

    without = [[1, 3], [0, 4, 5], [3, 1]]
    opened.restore(RuntimeState())
    state, expected = None, []
    for number, cohort in zip((0, 1, 3), without, strict=True):
        ahead = [np.array([])] * number
        (each,) = train(
            poisoned, opened, 1, start=number, state=state, cohorts=[*ahead, np.array(cohort)]
        )
        state = each.state
        expected.append(each)
    assert fingerprints(expected) == fingerprints([given[0], given[1], given[3]])
    assert set(opened.state().clients.clients.tolist()) == {0, 1, 3, 4, 5}


def test_a_client_that_is_not_finite_does_not_touch_those_of_its_block(poisoned):
    together = replace(poisoned, block_size=6)
    cohorts = [[1, POISONED, 3]]
    for batched in (False, True):
        apart, block = (
            train(
                each,
                LocalRuntime(each, batched=batched),
                cohorts=map(np.array, cohorts),
                on_nonfinite="drop",
            )
            for each in (poisoned, together)
        )
        torch.testing.assert_close(apart[0].state, block[0].state)


def test_nothing_runs_until_a_round_is_asked_for():
    problem = federation(FedAvg().build())

    def cohorts():
        yield np.array([0, 1])
        pytest.fail("one round more than asked for")

    history = train(problem, LocalRuntime(problem), 1, cohorts=cohorts())
    assert [each.number for each in history] == [1]


def test_it_ends_with_the_cohorts():
    problem = federation(FedAvg().build())
    cohorts = iter([np.array([3, 1]), np.array([0])])
    state = problem.algorithm.init(parameters(problem.task.model))
    loop = rounds(problem.algorithm, LocalRuntime(problem), state, cohorts)
    assert [each.clients["client"].tolist() for each in loop] == [[3, 1], [0]]


def test_means_are_over_the_samples_trained_on():
    problem = federation(FedSGD().build())
    (each,) = train(problem, LocalRuntime(problem), 1)
    sizes = problem.partition.sizes[each.clients["client"].long().numpy()]
    assert each.samples == sizes.sum()
    expected = np.average(each.clients["loss"].numpy(), weights=sizes)
    assert each.mean("loss") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("spec", "steps", "samples"),
    [
        (FedAvg(batch_size=20, steps=4), 4, lambda size: 4 * min(20, size)),
        (FedAvg(batch_size=20, epochs=3), None, lambda size: 3 * size),
        (FedAvg(batch_size=None, epochs=3), 3, lambda size: 3 * size),
        (FedSGD(), 1, lambda size: size),
        (FedSGD(send="weights"), 1, lambda size: size),
    ],
)
def test_accounts(spec, steps, samples):
    problem = federation(spec.build())
    model_bytes = tree.nbytes(parameters(problem.task.model))
    for batched in (False, True):
        for each in train(problem, LocalRuntime(problem, batched=batched), 2):
            cohort = each.clients["client"].long().tolist()
            sizes = problem.partition.sizes[cohort]
            assert each.samples == sum(map(samples, sizes))
            taken = [steps or 3 * -(-size // 20) for size in sizes]
            assert each.clients["steps"].tolist() == taken
            assert each.local_steps == sum(taken)
            assert each.messages == 2 * len(cohort)
            assert each.bytes_down == each.bytes_up == model_bytes * len(cohort)


def test_seconds_add_up():
    problem = federation(FedAvg().build())
    state = problem.algorithm.init(parameters(problem.task.model))
    cohorts = iter([np.arange(12)] * 3)
    loop = rounds(problem.algorithm, LocalRuntime(problem), state, cohorts)
    for each in islice(loop, 3):
        slowest, together = (float(f(each.clients["seconds"])) for f in (torch.max, torch.sum))
        assert slowest < each.simulated_seconds < each.wall_seconds
        assert together < each.wall_seconds
