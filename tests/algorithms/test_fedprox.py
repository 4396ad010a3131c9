"""FedProx: FedAvg on the loss and the distance from where a client began."""

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAvg, FedProx
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.data import IID
from raydl.data.batches import ClientData
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import (
    digits,
    federation,
    final,
    fingerprints,
    mlp,
    relative_distance,
    train,
)


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


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
