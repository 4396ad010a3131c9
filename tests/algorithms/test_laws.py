"""What every algorithm must satisfy, whatever it is."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAsync, FedAvg, FedProx, FedSGD
from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.runtimes.inprocess import InProcess
from tests.federation import (
    cnn,
    digits,
    federation,
    final,
    fingerprints,
    mlp,
    relative_distance,
    seeded,
    train,
)

ALGORITHMS = {
    "FedSGD": FedSGD(lr=0.3),
    "FedSGD by weights": FedSGD(lr=0.3, send="weights"),
    "FedAvg": FedAvg(epochs=2, batch_size=16),
    "FedAvg full batch": FedAvg(batch_size=None, epochs=3),
    "FedAvg J": FedAvg(steps=7, batch_size=16),
    "FedAvg momentum": FedAvg(
        lr=0.02,
        batch_size=20,
        epochs=2,
        momentum=0.9,
        nesterov=True,
        weight_decay=1e-3,
        server_lr=0.7,
    ),
    "FedProx": FedProx(mu=0.5, epochs=2, batch_size=16, momentum=0.5),
    "FedAsync": FedAsync(mixing=0.8, mu=0.1, epochs=2, batch_size=16),
}


@pytest.fixture(params=ALGORITHMS)
def spec(request):
    return ALGORITHMS[request.param]


def run(problem, count=3, **options):
    return train(problem, InProcess(problem), count, **options)


def test_it_learns(spec):
    problem = federation(spec.build())
    runtime = InProcess(problem)
    history = train(problem, runtime, 12)
    assert history[-1].mean("loss") < 0.8 * history[0].mean("loss")
    before = runtime.evaluate(parameters(problem.task.model), "test")().means()
    after = runtime.evaluate(final(problem, history), "test")().means()
    assert after["loss"] < 0.8 * before["loss"]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(spec):
    model = mlp(digits(), dropout=0.3)
    problem = federation(spec.build(), model)
    first = fingerprints(run(problem))
    with seeded(99):  # the user's own draws have no part in it
        assert fingerprints(run(problem)) == first
    assert fingerprints(run(replace(problem, seed=1))) != first


def test_the_users_own_draws_are_left_alone(spec):
    problem = federation(spec.build(), mlp(digits(), dropout=0.3))
    with seeded():
        untouched = torch.rand(5)
    with seeded():
        run(problem, 1)
        assert torch.equal(torch.rand(5), untouched)


def test_state_survives_a_checkpoint(spec):
    problem = federation(spec.build(), mlp(digits(), dropout=0.3))
    whole = run(problem, 5)
    state = tree.from_leaves({path: leaf.clone() for path, leaf in tree.leaves(whole[1].state)})
    resumed = run(problem, 3, start=2, state=state)
    assert fingerprints(resumed) == fingerprints(whole[2:])
    assert [each.number for each in resumed] == [3, 4, 5]


def test_earlier_states_are_not_written_to(spec):
    problem = federation(spec.build())
    state = problem.algorithm.init(parameters(problem.task.model))
    before = tree.fingerprint(state)
    history = run(problem, 2, state=state)
    assert tree.fingerprint(state) == before
    assert fingerprints(history) == fingerprints(run(problem, 2))


@pytest.mark.parametrize("size", [3, 100])
def test_the_cut_into_blocks_changes_only_the_rounding(spec, size):
    problem = federation(spec.build(), mlp(digits(), dropout=0.3), block_size=1)
    cut = replace(problem, block_size=size)
    one_by_one, together = final(problem, run(problem)), final(cut, run(cut))
    assert relative_distance(problem, together, one_by_one) < 1e-5


@pytest.mark.parametrize("size", [1, 3])
def test_the_order_of_the_cohort_changes_only_the_rounding(spec, size):
    problem = federation(spec.build(), block_size=size)
    state = problem.algorithm.init(parameters(problem.task.model))
    results = []
    for clients in ((3, 1, 4, 5, 9, 2, 6), (6, 2, 9, 5, 4, 1, 3)):
        work = Work(0, clients, problem.algorithm.plan(state))
        reduced = InProcess(problem).map_reduce(problem.algorithm.broadcast(state), work)
        mean = problem.algorithm.reduce.result(reduced.accumulator)
        results.append(problem.algorithm.params(problem.algorithm.server(state, mean)[0]))
    assert relative_distance(problem, *results) < 1e-5


def test_microbatches_change_only_the_rounding(spec):
    whole = federation(spec.build())
    pieces = federation(spec.build(), task={"microbatch": 9})
    given, expected = final(pieces, run(pieces)), final(whole, run(whole))
    assert 0 < relative_distance(whole, given, expected) < 1e-4


@pytest.mark.parametrize(
    ("spec", "model"),
    [*((spec, mlp) for spec in ALGORITHMS.values()), (ALGORITHMS["FedAvg J"], cnn)],
)
def test_batched_is_sequential(spec, model):
    problem = federation(spec.build(), model(digits()), block_size=4)
    sequential = train(problem, InProcess(problem))
    batched = train(problem, InProcess(problem, batched=True))
    given, expected = final(problem, batched), final(problem, sequential)
    assert relative_distance(problem, given, expected) < 1e-4
    for one, other in zip(batched, sequential, strict=True):
        assert (one.samples, one.local_steps) == (other.samples, other.local_steps)
        torch.testing.assert_close(one.clients["loss"], other.clients["loss"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("spec", [FedSGD(lr=0.3), FedSGD(lr=0.3, send="weights")])
def test_fedsgd_is_fedavg_with_one_step_on_everything(spec):
    fedsgd = federation(spec.build(), cnn(digits()))
    fedavg = federation(FedAvg(lr=0.3, batch_size=None, epochs=1).build(), cnn(digits()))
    expected = final(fedavg, run(fedavg))
    assert relative_distance(fedavg, final(fedsgd, run(fedsgd)), expected) < 1e-5


@pytest.mark.parametrize("send", ["gradients", "weights"])
def test_fedsgd_is_gradient_descent_on_the_cohorts_samples(send):
    problem = federation(FedSGD(lr=0.3, send=send).build())
    history = run(problem, 4)
    model = mlp(digits())
    data = ClientData(problem.dataset, problem.partition, seed=0)
    inputs, targets = data.prepare(problem.dataset.train.inputs), problem.dataset.train.targets
    for each in history:
        cohort = each.clients["client"].long().tolist()
        pooled = torch.cat([torch.from_numpy(problem.partition[client]) for client in cohort])
        loss = nn.functional.cross_entropy(model(inputs[pooled]), targets[pooled])
        assert each.mean("loss") == pytest.approx(loss.item(), rel=1e-5)
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter.sub_(grad, alpha=0.3)
    assert relative_distance(problem, final(problem, history), parameters(model)) < 1e-5


@pytest.mark.parametrize(
    "spec",
    [
        FedAvg(lr=0.05, batch_size=32, epochs=2),
        FedAvg(lr=0.05, batch_size=32, steps=50),
        FedAvg(lr=0.01, batch_size=50, epochs=1, momentum=0.9),
        FedAvg(lr=0.01, batch_size=50, epochs=1, momentum=0.9, nesterov=True, weight_decay=1e-2),
    ],
)
def test_fedavg_with_one_client_is_torchs_sgd(spec):
    problem = federation(spec.build(), partition=IID(), clients=1)
    history = run(problem, 3)
    model = mlp(digits())
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    for number in range(3):
        optimizer = torch.optim.SGD(
            model.parameters(),
            lr=spec.lr,
            momentum=spec.momentum,
            nesterov=spec.nesterov,
            weight_decay=spec.weight_decay,
        )
        for batch in data.batches(Work(number, (0,), problem.algorithm.plan({})), 0):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            optimizer.step()
    assert relative_distance(problem, final(problem, history), parameters(model)) < 1e-5


def test_fedprox_without_its_term_is_fedavg():
    options = {"lr": 0.05, "batch_size": 16, "epochs": 2, "momentum": 0.9, "server_lr": 0.7}
    fedprox, fedavg = (
        federation(spec.build(), mlp(digits(), dropout=0.3))
        for spec in (FedProx(mu=0, **options), FedAvg(**options))
    )
    assert fingerprints(run(fedprox)) == fingerprints(run(fedavg))


@pytest.mark.parametrize("spec", [FedProx(lr=0.05, mu=0.7, batch_size=32, epochs=2)])
def test_fedprox_descends_on_the_loss_and_the_distance(spec):
    """As torch differentiates F(w) + μ/2 ‖w − x‖²."""
    problem = federation(spec.build(), partition=IID(), clients=1)
    history = run(problem, 2)
    model = mlp(digits())
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    for number in range(2):
        origin = [parameter.detach().clone() for parameter in model.parameters()]
        optimizer = torch.optim.SGD(model.parameters(), lr=spec.lr)
        for batch in data.batches(Work(number, (0,), problem.algorithm.plan({})), 0):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(batch.inputs), batch.targets)
            pairs = zip(model.parameters(), origin, strict=True)
            apart = sum((own - begun).square().sum() for own, begun in pairs)
            (loss + spec.mu / 2 * apart).backward()
            optimizer.step()
    assert relative_distance(problem, final(problem, history), parameters(model)) < 1e-5


def test_fedasync_mixes_the_mean_of_the_clients_models():
    problem = federation(FedAsync(mixing=0.25, steps=3).build())
    (each,) = run(problem, 1)
    start, models = parameters(problem.task.model), []
    for client in each.clients["client"].long().tolist():
        alone = InProcess(problem).map_reduce(
            start, Work(0, (client,), problem.algorithm.plan(each.state))
        )
        models.append(problem.algorithm.reduce.result(alone.accumulator)["params"])
    average = tree.map(lambda *leaves: torch.stack(leaves).mean(0), *models)
    expected = tree.map(lambda x, w: 0.75 * x + 0.25 * w, start, average)
    torch.testing.assert_close(final(problem, [each]), expected)


@pytest.mark.parametrize("rate", [0.25, 3.0])
def test_the_servers_rate_scales_its_step(rate):
    plain, scaled = (federation(FedAvg(server_lr=each).build()) for each in (1.0, rate))
    start = parameters(plain.task.model)
    step = tree.sub(final(plain, run(plain, 1)), start)
    expected = tree.add(start, tree.scale(step, rate))
    torch.testing.assert_close(final(scaled, run(scaled, 1)), expected)


def test_fedavg_averages_by_samples():
    problem = federation(FedAvg().build())
    each = run(problem, 1, fraction=0.25)[0]
    start = parameters(problem.task.model)
    runtime = InProcess(problem)
    plan = problem.algorithm.plan(each.state)
    cohort, sizes = each.clients["client"].long().tolist(), []
    expected = tree.zeros_like(start)
    assert len(cohort) == 3
    for client in cohort:
        alone = runtime.map_reduce(start, Work(0, (client,), plan))
        delta = problem.algorithm.reduce.result(alone.accumulator)["delta"]
        sizes.append(int(problem.partition.sizes[client]))
        expected = tree.add(expected, tree.scale(delta, sizes[-1]))
    assert len(set(sizes)) == 3
    expected = tree.add(start, tree.scale(expected, 1 / sum(sizes)))
    assert relative_distance(problem, final(problem, [each]), expected) < 1e-5
