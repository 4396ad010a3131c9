"""FedExP: the mean movement, extrapolated by how much the clients differ."""

import pytest
import torch

from raydl.algorithms import FedAvg, FedExP
from raydl.core import tree
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import federation, final, train
from tests.trees import assert_equal

OPTIONS = {"lr": 0.05, "batch_size": 16, "epochs": 2}


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


def test_where_clients_agree_it_is_fedavg():
    """Of a single client the ratio is below a half."""
    ours, fedavg = (
        federation(spec.build(), partition=IID(), clients=1)
        for spec in (FedExP(**OPTIONS), FedAvg(**OPTIONS))
    )
    given, expected = run(ours, 2), run(fedavg, 2)
    assert_equal(given[-1].state["params"], expected[-1].state["params"])
    assert all(each.metrics["lr"] == 1 for each in given)
    start, end = given[0].state["params"], given[1].state["params"]
    torch.testing.assert_close(
        final(ours, given), tree.map(lambda a, b: (a + b) / 2, start, end), rtol=0, atol=0
    )


@pytest.mark.parametrize(("epsilon", "least"), [(1e-3, 0.1), (10.0, 0.7)])
def test_the_rate_is_that_of_the_paper(epsilon, least):
    problem = federation(FedExP(epsilon=epsilon, server_lr=least, **OPTIONS).build())
    (done,) = run(problem, 1)
    start = parameters(problem.task.model)
    cohort = done.clients["client"].long().tolist()
    moves, sizes = [], []
    fedavg = federation(FedAvg(**OPTIONS).build())
    for client in cohort:
        (alone,) = train(fedavg, LocalRuntime(fedavg), 1, cohorts=[torch.tensor([client]).numpy()])
        moves.append(
            torch.cat(
                [each.flatten() for _, each in tree.leaves(tree.sub(alone.state["params"], start))]
            ).double()
        )
        sizes.append(int(problem.partition.sizes[client]))
    weights = torch.tensor(sizes, dtype=torch.float64) / sum(sizes)
    mean = sum(weight * move for weight, move in zip(weights, moves, strict=True))
    squares = torch.stack([move.square().sum() for move in moves])
    rate = max(least, float(weights @ squares / (2 * (mean.square().sum() + epsilon))))
    assert float(done.metrics["lr"]) == pytest.approx(rate, rel=1e-5)
    assert (rate == least) == (epsilon == 10.0)
    step = torch.cat(
        [each.flatten() for _, each in tree.leaves(tree.sub(done.state["params"], start))]
    )
    torch.testing.assert_close(step.double(), rate * mean, rtol=1e-4, atol=1e-6)
