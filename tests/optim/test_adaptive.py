from math import sqrt

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from raydl.core.errors import SpecError
from raydl.optim import adagrad, adam, yogi
from tests.optim.trajectory import apart, by_optimizer, by_rule, start

W, LR, TAU = 1.0, 0.1, 0.01
# One step of β₁ = 0.9, β₂ = 0.99 along g: m = 0.1 g, and v from τ².
SECONDS = {
    "adagrad": (adagrad(0.9, TAU), lambda g: TAU**2 + g**2),
    "adam": (adam((0.9, 0.99), TAU), lambda g: 0.99 * TAU**2 + 0.01 * g**2),
    "yogi, from below": (yogi((0.9, 0.99), TAU), lambda g: TAU**2 + 0.01 * g**2),
}


@pytest.mark.parametrize("name", SECONDS)
@pytest.mark.parametrize("g", [2.0, -0.5])
def test_a_step(name, g):
    rule, second = SECONDS[name]
    params = {"w": tensor([W])}
    stepped, _ = rule.update(params, {"w": tensor([g])}, rule.init(params), LR)
    assert_close(stepped["w"], tensor([W - LR * 0.1 * g / (sqrt(second(g)) + TAU)]))


def test_yogis_second_moment_falls_by_no_more_than_the_square_of_the_gradient():
    rule = yogi((0.9, 0.99), tau=0.5)
    params = {"w": tensor([W])}
    _, state = rule.update(params, {"w": tensor([0.1])}, rule.init(params), LR)
    assert_close(state["second"]["w"], tensor([0.25 - 0.01 * 0.1**2]))
    _, state = rule.update(params, {"w": tensor([3.0])}, state, LR)
    assert_close(state["second"]["w"], tensor([0.25 - 0.01 * 0.1**2 + 0.01 * 9]))
    assert_close(state["first"]["w"], tensor([0.9 * 0.1 * 0.1 + 0.1 * 3]))


def test_a_hundred_steps_of_adagrad_are_torchs():
    options = {"lr": 0.05, "initial_accumulator_value": TAU**2, "eps": TAU}
    theirs = by_optimizer(lambda params: torch.optim.Adagrad(params, **options), start())
    assert apart(theirs, by_rule(adagrad(tau=TAU), start(), 0.05)) < 1e-6


@pytest.mark.parametrize(
    ("make", "given", "message"),
    [
        (adam, {"betas": (1.0, 0.9)}, r"betas is \(1.0, 0.9\)"),
        (yogi, {"tau": 0.0}, r"tau is 0.0; it must be above 0"),
        (adagrad, {"beta": -0.1}, "beta is -0.1"),
    ],
)
def test_values_out_of_range(make, given, message):
    with pytest.raises(SpecError, match=message):
        make(**given)
