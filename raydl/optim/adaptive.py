"""Adaptive optimizers for servers: Adagrad, Adam and Yogi without correction of the bias.

    m ← β₁ m + (1 − β₁) g
    Adagrad  v ← v + g²
    Adam     v ← β₂ v + (1 − β₂) g²
    Yogi     v ← v − (1 − β₂) g² sign(v − g²)
    w ← w − lr m / (√v + τ)

with v = τ² at first. What a server steps along is a mean over clients, a gradient or the negative
of their movement; τ bounds the step where that is small, and is much larger than others' ε.

S. Reddi, Z. Charles, M. Zaheer, Z. Garrett, K. Rush, J. Konečný, S. Kumar, B. McMahan, "Adaptive
Federated Optimization", ICLR 2021, algorithm 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim.adamw import Betas
from raydl.optim.rule import OptimizerState, Rate, UpdateRule, real_views
from raydl.optim.spec import OptimizerSpec

Second: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # v, g² -> v


@dataclass(frozen=True)
class Adagrad(OptimizerSpec):
    """Adagrad for servers, of "Adaptive Federated Optimization".

    Args:
        lr: learning rate.
        beta: decay rate of the first moment, in [0, 1).
        tau: number added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    beta: float = 0.0
    tau: float = 1e-3

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return adagrad(self.beta, self.tau)


@dataclass(frozen=True)
class Adam(OptimizerSpec):
    """Adam for servers, without correction of the bias, of "Adaptive Federated Optimization".

    Args:
        lr: learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        tau: number added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return adam(self.betas, self.tau)


@dataclass(frozen=True)
class Yogi(OptimizerSpec):
    """Yogi for servers, of "Adaptive Federated Optimization".

    Args:
        lr: learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        tau: number added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return yogi(self.betas, self.tau)


def adagrad(beta: float = 0.0, tau: float = 1e-3) -> UpdateRule:
    """Adagrad; with β₁ = 0 and v = τ² at first the numbers of ``torch.optim.Adagrad``.

    Args:
        beta: β₁ in [0, 1).
        tau: τ > 0.

    Raises:
        SpecError: if a value is out of its range.
    """
    return _adaptive(beta, tau, lambda v, square: v + square)


def adam(betas: Betas = (0.9, 0.99), tau: float = 1e-3) -> UpdateRule:
    """Adam as the paper has it; `adamw` is the one with correction of the bias.

    Args:
        betas: β₁ and β₂ in [0, 1).
        tau: τ > 0.

    Raises:
        SpecError: if a value is out of its range.
    """
    first, second = _check_betas(betas)
    return _adaptive(first, tau, lambda v, square: torch.lerp(v, square, 1 - second))


def yogi(betas: Betas = (0.9, 0.99), tau: float = 1e-3) -> UpdateRule:
    """Yogi, whose second moment moves by no more than the square of the gradient.

    Args:
        betas: β₁ and β₂ in [0, 1).
        tau: τ > 0.

    Raises:
        SpecError: if a value is out of its range.
    """
    first, second = _check_betas(betas)
    return _adaptive(
        first, tau, lambda v, square: v - (1 - second) * square * torch.sign(v - square)
    )


def _check_betas(betas: Betas) -> Betas:
    sound = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    require(sound, "betas", betas, "two, in [0, 1)")
    return betas


def _adaptive(beta: float, tau: float, second: Second) -> UpdateRule:
    require(0 <= beta < 1, "beta", beta, "in [0, 1)")
    require(tau > 0, "tau", tau, "above 0")

    def init(params: Params) -> OptimizerState:
        seconds = tree.map(lambda each: torch.full_like(each, tau**2), params)
        return {"first": tree.zeros_like(params), "second": seconds}

    def update(
        params: Params, grads: Params, state: OptimizerState, lr: Rate
    ) -> tuple[Params, OptimizerState]:
        stepped, first, seconds = {}, {}, {}
        for name, g in grads.items():
            first[name] = torch.lerp(state["first"][name], g, 1 - beta)
            seconds[name] = second(state["second"][name], g.square())
            stepped[name] = params[name] - lr * first[name] / (seconds[name].sqrt() + tau)
        moments = {"first": state["first"] | first, "second": state["second"] | seconds}
        return params | stepped, moments

    return real_views(UpdateRule(init, update))
