"""FedNova: what it equals where steps are equal, and its step where they are not."""

import pytest
import torch

from raydl.algorithms import FedAvg, FedNova, FedProx
from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.core.grad import Batch, Gradients, parameters
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import federation, final, relative_distance, train

OPTIONS = {"lr": 0.05, "batch_size": 16}


def run(problem, count=3, **options):
    return train(problem, LocalRuntime(problem), count, **options)


@pytest.mark.parametrize(
    "options",
    [{}, {"server_lr": 0.5}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}],
    ids=str,
)
def test_where_all_take_as_many_steps_it_is_fedavg(options):
    nova, fedavg = (
        federation(kind(steps=4, **OPTIONS, **options).build()) for kind in (FedNova, FedAvg)
    )
    assert relative_distance(nova, final(nova, run(nova)), final(fedavg, run(fedavg))) < 1e-5


def test_with_a_proximal_term_it_makes_up_for_what_that_holds_back():
    """Of 3 equal steps ‖a‖ = 1 + (1 − ημ) + (1 − ημ)², and τ is 3."""
    nova, fedprox = (
        federation(kind(steps=3, mu=2, **OPTIONS).build()) for kind in (FedNova, FedProx)
    )
    start, decay = parameters(nova.task.model), 1 - 0.05 * 2
    step = tree.sub(final(fedprox, run(fedprox, 1)), start)
    expected = tree.add(start, tree.scale(step, 3 / (1 + decay + decay**2)))
    assert relative_distance(nova, final(nova, run(nova, 1)), expected) < 1e-5


def test_where_clients_take_unequal_steps_each_of_them_counts():
    nova, fedavg = (federation(kind(epochs=2, **OPTIONS).build()) for kind in (FedNova, FedAvg))
    (done,) = run(nova, 1)
    start = parameters(nova.task.model)
    weights = done.clients["samples"] / done.clients["samples"].sum()
    steps = done.clients["steps"]
    assert len(set(steps.tolist())) > 1
    mean = tree.zeros_like(start)
    for client, weight, taken in zip(done.clients["client"], weights, steps, strict=True):
        alone = LocalRuntime(fedavg)
        (own,) = train(fedavg, alone, 1, cohorts=[client.long().reshape(1).numpy()])
        step = tree.sub(own.state["params"], start)
        mean = tree.add(mean, tree.scale(step, float(weight / taken)))
    expected = tree.add(start, tree.scale(mean, float(weights @ steps)))
    assert relative_distance(nova, final(nova, [done]), expected) < 1e-5
    assert relative_distance(nova, final(nova, [done]), final(fedavg, run(fedavg, 1))) > 1e-2


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(
    "options",
    [{}, {"momentum": 0.9}, {"momentum": 0.9, "nesterov": True}, {"mu": 3.0}],
    ids=str,
)
def test_of_a_constant_gradient_it_sends_one_step(options, steps):
    """‖a‖ is the sum of the weights that the gradients have in the movement."""
    client = FedNova(lr=0.1, **options).build().client
    start = {"w": torch.tensor([3.0, -1.0])}
    constant = torch.tensor([2.0, 5.0])
    local = client.init(start, {})
    for _ in range(steps):
        local, _ = client.step(
            lambda params, batch: Gradients({"w": constant}, {}, {}), local, Batch(start, start)
        )
    sent, _ = client.final(start, local)
    torch.testing.assert_close(sent["delta"]["w"], -0.1 * constant)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"mu": 0.1, "momentum": 0.9}, "set the other to 0"),
        ({"mu": -1.0}, "algorithm.mu is -1.0; it must be 0 or larger"),
        ({"mu": 20.0, "lr": 0.1}, "algorithm.mu is 20.0; it must be smaller than 1 / algorithm.lr"),
    ],
)
def test_what_it_cannot_correct_for_is_refused(given, message):
    with pytest.raises(SpecError, match=message):
        FedNova(**given)
