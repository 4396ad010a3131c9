"""FedSGD: gradient descent on the samples of the cohort."""

import pytest
import torch
from torch import nn

from raydl.algorithms import FedAvg, FedSGD
from raydl.core.grad import parameters
from raydl.data.batches import ClientData
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import cnn, digits, federation, final, mlp, relative_distance, train


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


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
