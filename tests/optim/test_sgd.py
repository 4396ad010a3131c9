from itertools import product

import pytest
import torch

from raydl.core.errors import SpecError
from raydl.optim import sgd

GRID = [
    (momentum, nesterov, weight_decay)
    for momentum, nesterov, weight_decay in product((0.0, 0.5, 0.9), (False, True), (0.0, 1e-2))
    if momentum or not nesterov
]


@pytest.mark.parametrize(("momentum", "nesterov", "weight_decay"), GRID)
def test_fifty_steps_are_torchs_bit_for_bit(momentum, nesterov, weight_decay):
    draws = torch.Generator().manual_seed(0)
    params = {name: torch.randn(37, generator=draws) for name in "ab"}
    theirs = {name: each.clone().requires_grad_() for name, each in params.items()}
    optimizer = torch.optim.SGD(
        theirs.values(), lr=0.1, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    rule = sgd(momentum, nesterov=nesterov, weight_decay=weight_decay)
    state = rule.init(params)
    for step in range(50):
        lr = 0.1 / (1 + step)
        grads = {name: torch.randn(37, generator=draws) for name in params}
        params, state = rule.update(params, grads, state, lr)
        for name, each in theirs.items():
            each.grad = grads[name]
        optimizer.param_groups[0]["lr"] = lr
        optimizer.step()
    assert all(torch.equal(params[name], each) for name, each in theirs.items())


def test_parameters_without_a_gradient_stay_as_they_are():
    rule = sgd(momentum=0.9, weight_decay=0.1)
    params = {"trained": torch.ones(2), "statistic": torch.ones(2)}
    stepped, _ = rule.update(params, {"trained": torch.ones(2)}, rule.init(params), 0.1)
    assert torch.equal(stepped["statistic"], torch.ones(2))
    assert not torch.equal(stepped["trained"], torch.ones(2))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"weight_decay": -1e-3}, "weight_decay is -0.001"),
        ({"nesterov": True}, "above 0 with nesterov"),
    ],
)
def test_values_out_of_range(given, field):
    with pytest.raises(SpecError, match=field):
        sgd(**given)
