"""Algorithms under a virtual clock: what they equal, and how they go on from any step."""

import pytest
import torch

from raydl import SpecError
from raydl.algorithms import FedAsync, FedAvg, FedProx, FedSGD, Mime
from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.runtime import RuntimeState
from raydl.runtimes.simulated.compute_time import Lognormal, Measured
from tests.drawing import gathering
from tests.federation import digits, federation, final, fingerprints, mlp, train
from tests.virtual import ALGORITHMS, CASES, EQUAL, EVERYONE, HARSH, VARIED, simulated


@pytest.mark.parametrize("name", ALGORITHMS)
def test_synchronously_it_is_the_sequential_runtime(name):
    problem = federation(ALGORITHMS[name], mlp(digits(), dropout=0.3))
    expected = train(problem, LocalRuntime(problem))
    got = train(problem, simulated(problem, consistency=Synchronous(), **HARSH))
    assert fingerprints(got) == fingerprints(expected)
    for one, other in zip(got, expected, strict=True):
        for column in ("client", "samples", "steps", "bytes_up", "finite", "loss"):
            assert torch.equal(one.clients[column], other.clients[column]), column
        accounts = ("messages", "bytes_down", "bytes_up")
        assert [getattr(one, each) for each in accounts] == [
            getattr(other, each) for each in accounts
        ]


@pytest.mark.parametrize("name", EQUAL)
def test_a_full_buffer_of_equal_workers_is_synchronous(name):
    problem = federation(EQUAL[name], block_size=1)
    expected = train(problem, LocalRuntime(problem), cohorts=EVERYONE)
    runtime = simulated(problem, consistency=Asynchronous(buffer=12))
    assert fingerprints(train(problem, runtime, cohorts=EVERYONE)) == fingerprints(expected)


def test_a_bound_out_of_reach_is_none():
    problem = federation(EQUAL["LocalSGD"])
    bounded, free = (
        train(problem, simulated(problem, consistency=each, **HARSH), 30, cohorts=EVERYONE)
        for each in (StaleSynchronous(10**9, discount=0.5), Asynchronous(discount=0.5))
    )
    assert fingerprints(bounded) == fingerprints(free)
    tight = train(problem, simulated(problem, consistency=StaleSynchronous(0), **HARSH), 30,
                  cohorts=EVERYONE)  # fmt: skip
    assert fingerprints(tight) != fingerprints(free)


def test_an_update_is_trained_from_the_version_that_it_began_from():
    """Two workers by hand: 0 arrives at 2, 4, ..., worker 1 at 3, 6, ...; x ← x + s(τ) Δ."""
    problem = federation(EQUAL["FedAvg"], clients=2)
    pace = Measured((2 / 3, 1.0))  # 3 steps
    runtime = simulated(problem, consistency=Asynchronous(discount=1.0), speed=pace)
    got = train(problem, runtime, 4, cohorts=[torch.arange(2).numpy()] * 4)
    alone, plan = LocalRuntime(problem), EQUAL["FedAvg"].plan({})
    versions = [problem.algorithm.init(parameters(problem.task.model))["params"]]
    for applied, (worker, began) in enumerate([(0, 0), (1, 0), (0, 1), (1, 2)]):
        reduced = alone.map_reduce(versions[began], Work(began, (worker,), plan))
        delta = problem.algorithm.reduce.result(reduced.accumulator)["delta"]
        discounted = tree.scale(delta, 1 / (1 + applied - began))
        versions.append(tree.add(versions[-1], discounted))
        torch.testing.assert_close(got[applied].state["params"], versions[-1])
        assert got[applied].clients["staleness"].tolist() == [applied - began]
    assert [each.simulated_seconds for each in got] == pytest.approx([2, 1, 1, 2])


def test_a_buffer_is_the_mean_of_discounted_movements():
    """FedBuff's step, by samples: x ← x + ηₛ Σ nₖ s(τₖ) Δₖ / Σ nₖ."""
    problem = federation(FedAvg(steps=3, server_lr=0.7).build(), clients=5)
    cohorts = [torch.arange(5).numpy()] * 8
    runtime = simulated(problem, consistency=Asynchronous(2, discount=0.5), speed=VARIED)
    got = train(problem, runtime, 8, cohorts=cohorts)
    alone, versions = LocalRuntime(problem), [parameters(problem.task.model)]
    for applied, each in enumerate(got):
        total, samples = tree.zeros_like(versions[0]), 0
        taken = [arrival for arrival in runtime.trace if arrival.applied == applied]
        for arrival in taken:
            work = Work(arrival.version, (arrival.worker,), problem.algorithm.plan({}))
            reduced = alone.map_reduce(versions[arrival.version], work)
            size = int(problem.partition.sizes[arrival.worker])
            factor = size * (1 + applied - arrival.version) ** -0.5
            delta = problem.algorithm.reduce.result(reduced.accumulator)["delta"]
            total, samples = tree.add(total, tree.scale(delta, factor)), samples + size
        assert len(taken) == 2
        versions.append(tree.add(versions[-1], tree.scale(total, 0.7 / samples)))
        torch.testing.assert_close(each.state["params"], versions[-1])
    assert max(arrival.applied - arrival.version for arrival in runtime.trace) > 1


def test_what_is_gathered_by_client_counts_for_less_when_it_is_stale():
    """The median of one update is their mean, whatever becomes of it on the way."""
    cohorts, histories = [torch.arange(5).numpy()] * 8, []
    fedavg = FedAvg(lr=0.1, batch_size=16, epochs=1).build()
    for algorithm in (fedavg, gathering()):
        problem = federation(algorithm, clients=5)
        runtime = simulated(problem, consistency=Asynchronous(discount=0.5), speed=VARIED)
        histories.append(train(problem, runtime, 8, cohorts=cohorts))
    assert max(float(each.clients["staleness"].max()) for each in histories[0]) > 1
    for one, other in zip(*histories, strict=True):
        torch.testing.assert_close(one.state["params"], other.state["params"])


def test_a_worker_goes_through_its_samples_in_its_own_order():
    """Whatever the server's steps: a worker's 4 rounds of 3 steps are 12 steps on end."""
    problem = federation(EQUAL["LocalSGD"])
    seen = {client: [] for client in range(12)}
    runtime = simulated(problem, consistency=Asynchronous(), speed=VARIED)
    train_block = runtime._train_block

    def seeing(block, broadcast):
        seen[block.clients[0]].append(block)
        return train_block(block, broadcast)

    runtime._train_block = seeing
    train(problem, runtime, 60, cohorts=EVERYONE)
    for blocks in seen.values():
        assert [block.plan.start_step for block in blocks] == [3 * n for n in range(len(blocks))]


def test_fedasync_that_mixes_all_takes_the_last_clients_model():
    problem = federation(FedAsync(steps=3, mixing=1.0).build(), clients=1)
    one = {"cohorts": [torch.arange(1).numpy()] * 5}
    got = train(problem, simulated(problem, consistency=Asynchronous(discount=0.5)), **one)
    fedsgd = FedSGD(send="weights").build()  # whose server takes the mean of what it is sent
    client = problem.algorithm.client._replace(final=lambda sent, local: (local["params"], {}))
    parts = {"client": client, "plan": problem.algorithm.plan, "reduce": problem.algorithm.reduce}
    trained = federation(fedsgd._replace(**parts), clients=1)
    assert fingerprints(got) == fingerprints(train(trained, LocalRuntime(trained), **one))


def test_fedasync_mixes_less_of_what_is_stale():
    spec = FedAsync(steps=3, mixing=0.6)
    server = spec.build().server
    x, w = {"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([5.0, -2.0])}
    for staleness in (0, 1, 7):
        factor = Asynchronous(discount=0.5).discount_factor(staleness)
        sent = spec.build().discount({"params": w, "weight": torch.ones(())}, factor)
        mixing = 0.6 * (1 + staleness) ** -0.5
        mixed = server({"params": x}, sent)[0]["params"]["a"]
        torch.testing.assert_close(mixed, (1 - mixing) * x["a"] + mixing * w["a"])


def test_over_selection_takes_the_first_of_the_cohort():
    problem = federation(EQUAL["FedAvg"])
    pace = Measured(tuple(1.0 + 0.1 * ((7 * client) % 12) for client in range(12)))
    runtime = simulated(problem, consistency=Synchronous(backup=4), speed=pace)
    (got,) = train(problem, runtime, 1, cohorts=EVERYONE)
    fastest = sorted(sorted(range(12), key=lambda client: pace.seconds[client])[:8])
    assert got.clients["client"].tolist() == fastest
    alone = train(problem, LocalRuntime(problem), 1, cohorts=[torch.tensor(fastest).numpy()])
    assert fingerprints([got]) == fingerprints(alone)
    assert got.messages == 12 + 8


def test_partial_work_is_training_for_as_many_steps():
    problem = federation(FedProx(steps=8, batch_size=4, mu=0.1).build(), block_size=1)
    speed = Measured((0.5, 1.0, *(0.1,) * 10))
    runtime = simulated(problem, speed=speed, deadline=3.0, partial=True)
    (got,) = train(problem, runtime, 1, cohorts=EVERYONE)
    assert got.clients["steps"].tolist() == [6, 3] + [8] * 10
    sent, total, weights = (
        problem.algorithm.broadcast(problem.algorithm.init(parameters(problem.task.model))),
        None,
        0,
    )
    for client, steps in enumerate(got.clients["steps"].long().tolist()):
        plan = problem.algorithm.plan({})._replace(steps=steps)
        alone = LocalRuntime(problem).map_reduce(sent, Work(0, (client,), plan))
        size = int(problem.partition.sizes[client])
        delta = problem.algorithm.reduce.result(alone.accumulator)["delta"]
        delta = tree.scale(delta, size)
        total, weights = delta if total is None else tree.add(total, delta), weights + size
    expected = tree.add(sent, tree.scale(total, 1 / weights))
    torch.testing.assert_close(final(problem, [got]), expected)


def test_a_round_without_updates_changes_nothing():
    problem = federation(EQUAL["FedAvg"])
    got = train(problem, simulated(problem, speed=Lognormal(1.0), deadline=0.5), 2)
    assert len(set(fingerprints(got))) == 1
    assert [(each.samples, each.simulated_seconds) for each in got] == [(0, 0.5)] * 2
    assert got[0].bytes_down > got[0].bytes_up == 0


def copied(value):
    return tree.from_leaves({path: leaf.clone() for path, leaf in tree.leaves(value)})


@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_from_any_step(case):
    name, conditions = CASES[case]
    problem = federation(EQUAL[name], mlp(digits(), dropout=0.3))
    cohorts = {"cohorts": EVERYONE} if name in ("LocalSGD", "keeping") else {}
    expected = train(problem, simulated(problem, **HARSH | conditions), 12, **cohorts)
    assert len(set(fingerprints(expected))) == 12
    state, kept = None, RuntimeState()
    for at, whole in enumerate(expected):
        runtime = simulated(problem, **HARSH | conditions)
        runtime.restore(kept)
        (got,) = train(problem, runtime, 1, start=at, state=state, **cohorts)
        assert got.simulated_seconds == whole.simulated_seconds
        assert torch.equal(got.clients["client"], whole.clients["client"])
        assert fingerprints([got]) == fingerprints([whole])
        state = got.state
        now = runtime.state()
        kept = RuntimeState(now.clients.map(torch.clone), copied(now.own))


def test_only_the_movement_counts_for_less():
    one, half = torch.ones(2), torch.full((2,), 0.5)
    sent = {"delta": {"w": one}, "loss": one, "buffers": {"mean": one}}
    assert tree.fingerprint(EQUAL["LocalSGD"].discount(sent, 0.5)) == tree.fingerprint(
        sent | {"delta": {"w": half}}
    )
    sent = {"grads": {"w": one}, "buffers": {"mean": one}}
    assert tree.fingerprint(EQUAL["FedSGD"].discount(sent, 0.5)) == tree.fingerprint(
        sent | {"grads": {"w": half}}
    )


def test_an_update_that_is_not_finite_is_left_out():
    algorithm = EQUAL["FedAvg"]
    broken = algorithm.client._replace(
        view=lambda sent, client: tree.scale(sent, float("nan") if client == 3 else 1.0)
    )
    problem = federation(algorithm._replace(client=broken), clients=4)
    runtime = simulated(problem, consistency=Asynchronous(discount=1.0), speed=VARIED)
    cohorts = [torch.arange(4).numpy()] * 24
    got = train(problem, runtime, 24, on_nonfinite="drop", cohorts=cohorts)
    before, left_out = None, 0
    for each in got:
        client, finite = int(each.clients["client"]), bool(each.clients["finite"])
        assert finite == (client != 3)
        assert (fingerprints([each])[0] == before) == (client == 3)
        before, left_out = fingerprints([each])[0], left_out + (not finite)
    assert left_out > 1


def test_what_does_not_fit_is_refused():
    with pytest.raises(SpecError, match="discount is given, but the algorithm's messages"):
        simulated(
            federation(FedSGD(send="weights").build()), consistency=Asynchronous(discount=1.0)
        )
    with pytest.raises(SpecError, match="meet the server in step, more than once"):
        simulated(federation(Mime().build()), consistency=Asynchronous())
    with pytest.raises(SpecError, match=r"holds 2 numbers; .* each of the 12"):
        simulated(federation(EQUAL["FedAvg"]), speed=Measured((1.0, 2.0)))
