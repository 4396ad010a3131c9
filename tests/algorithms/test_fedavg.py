"""FedAvg: torch's SGD on each client, then the mean by samples."""

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAvg
from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, mlp, relative_distance, train


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


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
    runtime = LocalRuntime(problem)
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
