from functools import partial

import pytest
import torch
from torch import tensor
from torch.testing import assert_close

from raydl.core.errors import SpecError
from raydl.optim import TorchLARS, lars
from tests.optim.trajectory import apart, by_optimizer, by_rule, equal, start, weights_and_others

W, G = tensor([[3.0, 4.0]]), tensor([[0.0, 2.0]])  # of norms 5 and 2
DECAYED = tensor([[0.3, 2.4]])  # g + 0.1 w
T = 0.01 * 5 / (2 + 0.1 * 5)  # the trust ratio, 0.02


def stepped(w, *grads, lr=0.5, **options):
    """The parameter after one step for each gradient, with λ = 0.1, η = 0.01, ε = 0."""
    weight = w.clone().requires_grad_()
    optimizer = TorchLARS(
        [weight], lr, **{"weight_decay": 0.1, "trust": 0.01, "eps": 0.0} | options
    )
    for grad in grads:
        weight.grad = grad
        optimizer.step()
    return weight.detach()


def test_a_step():
    assert_close(stepped(W, G), W - 0.5 * T * DECAYED)


def test_the_second_step_goes_on_with_the_velocity():
    velocity = T * DECAYED
    w = W - 0.5 * velocity
    t = 0.01 * w.norm() / (1 + 0.1 * w.norm())
    velocity = 0.8 * velocity + t * (tensor([[1.0, 0.0]]) + 0.1 * w)
    after = stepped(W, G, tensor([[1.0, 0.0]]), momentum=0.8)
    assert_close(after, w - 0.5 * velocity)


def test_nesterov_looks_ahead():
    after = stepped(W, G, momentum=0.8, nesterov=True)
    assert_close(after, W - 0.5 * (1 + 0.8) * T * DECAYED)


def test_without_momentum():
    t = 0.01 * 5 / (2 + 0.5)
    w = W - 0.5 * t * DECAYED
    t = 0.01 * w.norm() / (2 + 0.1 * w.norm())
    assert_close(stepped(W, G, G, momentum=0.0), w - 0.5 * t * (G + 0.1 * w))


def test_epsilon_stands_in_the_denominator():
    assert_close(stepped(W, G, eps=2.5), W - 0.5 * T / 2 * DECAYED)


def test_the_ratio_is_1_where_a_norm_is_0():
    assert_close(stepped(torch.zeros(1, 2), G), -0.5 * G)
    assert_close(stepped(W, torch.zeros(1, 2)), W - 0.5 * 0.1 * W)


def test_vectors_neither_decay_nor_adapt_unless_told_to():
    bias = W[0].clone().requires_grad_()
    alone = torch.ones(1, 1, requires_grad=True)  # without any weight it would be refused
    bias.grad = G[0]
    TorchLARS([bias, alone], 0.5, weight_decay=0.1).step()
    assert_close(bias.detach(), W[0] - 0.5 * G[0])
    assert_close(stepped(W[0], G[0], adapt=True), W[0] - 0.5 * T * DECAYED[0])
    assert_close(stepped(W[0], G[0], adapt=False), W[0] - 0.5 * DECAYED[0])


def test_clipped_the_rate_is_only_ever_made_smaller():
    assert_close(stepped(W, G, lr=0.5, clip=True), W - T * DECAYED)  # T is below 0.5
    assert_close(stepped(W, G, lr=0.01, clip=True), W - 0.01 * DECAYED)  # and above 0.01
    assert_close(stepped(W, G, lr=0.0, clip=True), W)


@pytest.mark.parametrize(
    ("momentum", "nesterov", "weight_decay"),
    [(0.0, False, 0.1), (0.9, False, 0.1), (0.9, True, 0.1), (0.9, False, 0.0)],
)
def test_without_ratios_it_is_torchs_sgd(momentum, nesterov, weight_decay):
    options = {"momentum": momentum, "nesterov": nesterov, "weight_decay": weight_decay}
    ours = by_optimizer(lambda params: TorchLARS(params, 0.1, adapt=False, **options), start())
    theirs = by_optimizer(lambda params: torch.optim.SGD(params, 0.1, **options), start())
    assert apart(theirs, ours) < 1e-6
    if not weight_decay:
        assert equal(theirs, ours)


@pytest.mark.parametrize("lr", [0.1, 3.0])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("nesterov", [False, True])
def test_a_hundred_steps_are_timms(nesterov, clip, lr):
    from timm.optim import Lars

    shared = {"lr": lr, "momentum": 0.9, "nesterov": nesterov}
    ours = by_optimizer(
        lambda params: TorchLARS(params, weight_decay=1e-2, trust=0.5, clip=clip, **shared), start()
    )
    theirs = by_optimizer(
        lambda params: Lars(
            weights_and_others(params, 1e-2), trust_coeff=0.5, trust_clip=clip, **shared
        ),
        start(),
    )
    assert apart(theirs, ours) < 1e-5


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("adapt", [None, True, False])
def test_the_rule_is_the_optimizer_bit_for_bit(momentum, clip, adapt):
    options = {"momentum": momentum, "weight_decay": 1e-2, "clip": clip, "adapt": adapt}
    optimizer = by_optimizer(lambda params: TorchLARS(params, 0.3, **options), start(), steps=20)
    assert equal(optimizer, by_rule(lars(**options), start(), 0.3, steps=20))


@pytest.mark.parametrize("form", [lars, partial(TorchLARS, [torch.ones(1, 1)], 0.1)])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"momentum": 0.0, "nesterov": True}, "above 0 with nesterov"),
        ({"weight_decay": -1.0}, "weight_decay is -1.0"),
        ({"trust": 0.0}, "trust is 0.0; it must be above 0"),
        ({"eps": -1e-8}, "eps is -1e-08"),
    ],
)
def test_values_out_of_range(form, given, message):
    with pytest.raises(SpecError, match=message):
        form(**given)
