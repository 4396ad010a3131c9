"""Server optimizers: what they equal, and torch's own steps along the full gradient."""

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAdagrad, FedAdam, FedAvg, FedAvgM, FedYogi
from raydl.core import tree
from raydl.core.grad import Batch, eager, parameters
from raydl.data.batches import ClientData
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import digits, federation, final, mlp, relative_distance, train

ADAPTIVE = [FedAdagrad, FedAdam, FedYogi]


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


def whole(problem):
    """The training set as one minibatch."""
    data = ClientData(problem.dataset, problem.partition, seed=0)
    return Batch(data.prepare(problem.dataset.train.inputs), problem.dataset.train.targets)


def test_without_momentum_it_is_fedavg():
    options = {"lr": 0.05, "batch_size": 16, "epochs": 2, "momentum": 0.5}
    with_rule, fedavg = (
        federation(spec.build(), mlp(digits(), dropout=0.3))
        for spec in (FedAvgM(server_momentum=0, **options), FedAvg(**options))
    )
    ends = (tree.fingerprint(final(each, run(each))) for each in (with_rule, fedavg))
    assert len(set(ends)) == 1


@pytest.mark.parametrize("nesterov", [False, True])
def test_of_full_gradients_fedavgm_is_torchs_momentum(nesterov):
    spec = FedAvgM(0.05, None, epochs=1, server_lr=2.0, server_nesterov=nesterov)
    problem = federation(spec.build())
    history = run(problem, 5, fraction=1.0)
    model, everything = mlp(digits()), whole(problem)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=nesterov)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(everything.inputs), everything.targets).backward()
        optimizer.step()
    assert relative_distance(problem, final(problem, history), parameters(model)) < 1e-4


@pytest.mark.parametrize("kind", ADAPTIVE)
def test_of_full_gradients_it_is_the_rule(kind):
    """Each client moves by its gradient, times its rate of 1."""
    spec = kind(1.0, None, epochs=1, server_lr=0.05)
    problem, rule = federation(spec.build()), spec.server_rule()
    params = parameters(problem.task.model)
    state = rule.init(params)
    for _ in range(4):
        grads = eager(problem.task)(params, whole(problem)).grads
        params, state = rule.update(params, grads, state, 0.05)
    given = final(problem, run(problem, 4, fraction=1.0))
    assert relative_distance(problem, given, params) < 1e-4


@pytest.mark.parametrize("kind", [FedAvgM, *ADAPTIVE])
def test_running_statistics_are_averaged_and_not_stepped(kind):
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))
    options = {"steps": 2, "batch_size": 4}
    ours, fedavg = (
        federation(spec.build(), model)
        for spec in (kind(server_lr=0.3, **options), FedAvg(**options))
    )
    given, expected = (final(each, run(each, 1)) for each in (ours, fedavg))
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(given[name], expected[name])
    assert not torch.equal(given["2.weight"], expected["2.weight"])
