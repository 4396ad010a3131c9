import pytest
import torch

from raydl.core.errors import SpecError
from raydl.optim import adamw
from tests.optim.trajectory import apart, by_optimizer, by_rule, start


@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.0, 0.9)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_hundred_steps_are_torchs(betas, weight_decay):
    options = {"betas": betas, "eps": 1e-6, "weight_decay": weight_decay}
    theirs = by_optimizer(lambda params: torch.optim.AdamW(params, lr=0.02, **options), start())
    assert apart(theirs, by_rule(adamw(**options), start(), 0.02)) < 1e-6


def test_the_first_step_loses_no_digits_in_the_bias_correction():
    options = {"betas": (0.999, 0.99999), "eps": 0.1}
    theirs = by_optimizer(lambda params: torch.optim.AdamW(params, lr=1.0, **options), start(), 1)
    assert apart(theirs, by_rule(adamw(**options), start(), 1.0, steps=1)) < 1e-6


def test_a_rate_of_0_moves_nothing():
    params = start()
    stepped = by_rule(adamw(), params, 0.0, steps=2)
    assert apart(params, stepped) == 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"betas": (1.0, 0.9)}, r"betas is \(1.0, 0.9\)"),
        ({"eps": -1.0}, "eps is -1.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
    ],
)
def test_values_out_of_range(given, message):
    with pytest.raises(SpecError, match=message):
        adamw(**given)
