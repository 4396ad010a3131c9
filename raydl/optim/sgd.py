"""Stochastic gradient descent, step by step the numbers of ``torch.optim.SGD``.

g ← g + λ w;  v ← μ v + g;  w ← w − η v, or with Nesterov momentum w ← w − η (g + μ v).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim.rule import OptimizerState, Rate, UpdateRule
from raydl.optim.spec import OptimizerSpec


@dataclass(frozen=True)
class SGD(OptimizerSpec):
    """Stochastic gradient descent.

    Args:
        lr: learning rate.
        momentum: momentum, in [0, 1).
        nesterov: whether the momentum looks ahead.
        weight_decay: L2 decay, added to the gradient.
    """

    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return sgd(self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)


def sgd(momentum: float = 0.0, *, nesterov: bool = False, weight_decay: float = 0.0) -> UpdateRule:
    """Gradient descent with momentum μ and L2 weight decay λ.

    Args:
        momentum: μ in [0, 1).
        nesterov: looks ahead; needs a momentum above 0.
        weight_decay: λ ≥ 0, added to the gradient as λ w.

    Raises:
        SpecError: if a value is out of its range.
    """
    require(0 <= momentum < 1, "momentum", momentum, "in [0, 1)")
    require(weight_decay >= 0, "weight_decay", weight_decay, "0 or larger")
    require(momentum > 0 or not nesterov, "momentum", momentum, "above 0 with nesterov")

    def init(params: Params) -> OptimizerState:
        return tree.zeros_like(params) if momentum else {}

    def update(
        params: Params, grads: Params, state: OptimizerState, lr: Rate
    ) -> tuple[Params, OptimizerState]:
        # A parameter at a time: what is only needed in between goes back before the next one.
        stepped, moments = {}, {}
        for name, g in grads.items():
            w = params[name]
            direction = torch.add(g, w, alpha=weight_decay) if weight_decay else g
            if momentum:
                v = moments[name] = (momentum * state[name]).add_(direction)
                direction = torch.add(direction, v, alpha=momentum) if nesterov else v
            stepped[name] = _minus(w, lr, direction)
        return params | stepped, state | moments

    return UpdateRule(init, update)


def _minus(w: Tensor, lr: Rate, d: Tensor) -> Tensor:
    """The difference w − lr d; a rate that is a tensor may be one of many under ``torch.vmap``."""
    return w - lr * d if isinstance(lr, Tensor) else torch.sub(w, d, alpha=lr)
