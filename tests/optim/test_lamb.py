from functools import partial
from math import sqrt

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from raydl.core.errors import SpecError
from raydl.optim import TorchLAMB, lamb
from tests.optim.trajectory import apart, by_optimizer, by_rule, equal, start, weights_and_others

W, G = tensor([[3.0, 4.0]]), tensor([[-1.0, 2.0]])
# After one step m̂ = g and v̂ = g², so that Adam's direction is the sign of the gradient.
U = tensor([[-1 + 0.3, 1 + 0.4]])  # with λ = 0.1


def stepped(w, *grads, lr=0.5, **options):
    """The parameter after one step for each gradient, with λ = 0.1 and ε = 0."""
    weight = w.clone().requires_grad_()
    optimizer = TorchLAMB([weight], lr, **{"weight_decay": 0.1, "eps": 0.0} | options)
    for grad in grads:
        weight.grad = grad
        optimizer.step()
    return weight.detach()


def test_a_step():
    assert_close(stepped(W, G), W - 0.5 * 5 / sqrt(0.7**2 + 1.4**2) * U)


def test_the_second_step_goes_on_with_the_moments():
    g = tensor([[2.0, 0.5]])
    u = G / (G.abs() + 1e-3) + 0.1 * W
    w = W - 0.5 * 5 / u.norm() * u
    m = (0.8 * 0.2 * G + 0.2 * g) / (1 - 0.8**2)
    v = (0.9 * 0.1 * G**2 + 0.1 * g**2) / (1 - 0.9**2)
    u = m / (v.sqrt() + 1e-3) + 0.1 * w
    after = stepped(W, G, g, betas=(0.8, 0.9), eps=1e-3)
    assert_close(after, w - 0.5 * w.norm() / u.norm() * u)


def test_the_ratio_is_1_where_a_norm_is_0():
    assert_close(stepped(torch.zeros(1, 2), G), -0.5 * G.sign())
    after = stepped(W, torch.zeros(1, 2), eps=1e-6, weight_decay=0.0)
    assert_close(after, W)


def test_vectors_neither_decay_nor_adapt_unless_told_to():
    bias = W[0].clone().requires_grad_()
    alone = torch.ones(1, 1, requires_grad=True)  # without any weight it would be refused
    bias.grad = G[0]
    TorchLAMB([bias, alone], 0.5, eps=0.0, weight_decay=0.1).step()
    assert_close(bias.detach(), W[0] - 0.5 * G[0].sign())
    assert_close(stepped(W[0], G[0], adapt=True), W[0] - 0.5 * 5 / U.norm() * U[0])
    assert_close(stepped(W[0], G[0], adapt=False), W[0] - 0.5 * U[0])


def test_clipped_the_ratio_is_at_most_1():
    assert_close(stepped(W, G, clip=True), W - 0.5 * U)  # ‖w‖ is above ‖u‖
    small = tensor([[0.3, 0.4]])  # and here below
    assert_close(
        stepped(small, G, clip=True, weight_decay=0.0), small - 0.5 * 0.5 / sqrt(2) * G.sign()
    )


def test_the_first_betas_may_be_0():
    assert_close(stepped(W, G, betas=(0.0, 0.0)), stepped(W, G))


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_without_ratios_it_is_torchs_adamw(weight_decay):
    options = {"lr": 0.02, "eps": 1e-8, "weight_decay": weight_decay}
    ours = by_optimizer(lambda params: TorchLAMB(params, adapt=False, **options), start())
    theirs = by_optimizer(lambda params: torch.optim.AdamW(params, **options), start())
    assert apart(theirs, ours) < 1e-6


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("size", [0.1, 5.0])
def test_a_hundred_steps_are_timms(clip, size):
    from timm.optim import Lamb

    # timm clips the gradients' global norm unless told not to; it adapts only what decays.
    shared = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6}
    ours = by_optimizer(
        lambda params: TorchLAMB(params, weight_decay=0.05, clip=clip, **shared), start(size)
    )
    theirs = by_optimizer(
        lambda params: Lamb(
            weights_and_others(params, 0.05), max_grad_norm=None, trust_clip=clip, **shared
        ),
        start(size),
    )
    assert apart(theirs, ours) < 1e-5


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("adapt", [None, True, False])
def test_the_rule_is_the_optimizer_bit_for_bit(clip, adapt):
    options = {"betas": (0.8, 0.95), "weight_decay": 0.1, "clip": clip, "adapt": adapt}
    optimizer = by_optimizer(lambda params: TorchLAMB(params, 0.02, **options), start(), steps=20)
    assert equal(optimizer, by_rule(lamb(**options), start(), 0.02, steps=20))


@pytest.mark.parametrize("form", [lamb, partial(TorchLAMB, [torch.ones(1, 1)], 0.1)])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"betas": (0.9, 1.0)}, r"betas is \(0.9, 1.0\)"),
        ({"betas": (0.9,)}, "betas is"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"eps": -1e-8}, "eps is -1e-08"),
    ],
)
def test_values_out_of_range(form, given, message):
    with pytest.raises(SpecError, match=message):
        form(**given)
