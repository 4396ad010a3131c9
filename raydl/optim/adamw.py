"""AdamW: Adam with decoupled weight decay, the numbers of ``torch.optim.AdamW``.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²
    m̂ = m / (1 − β₁ᵏ);  v̂ = v / (1 − β₂ᵏ) at step k = 1, 2, ...
    w ← w − lr λ w − lr m̂ / (√v̂ + ε)

D. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015; I. Loshchilov, F. Hutter,
"Decoupled Weight Decay Regularization", ICLR 2019.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim.foreach import TensorList, foreach, scale_, shift_
from raydl.optim.rule import OptimizerState, Rate, UpdateRule, real_views
from raydl.optim.spec import OptimizerSpec

Betas: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class AdamW(OptimizerSpec):
    """Adam with decoupled weight decay.

    Args:
        lr: learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        eps: number added to the root of the second moment.
        weight_decay: decoupled decay: w ← w − lr · weight_decay · w.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return adamw(self.betas, self.eps, self.weight_decay)


def moments_(
    grads: TensorList,
    firsts: TensorList,
    seconds: TensorList,
    steps: TensorList,
    betas: Betas,
    eps: float,
) -> tuple[TensorList, Tensor]:
    """Brings the moments up to date.

    Returns:
        n new tensors r and a factor f [n], such that m̂ / (√v̂ + ε) = f m / r: the corrections of the
        bias are left to the factor, which spares passes over the tensors.
    """
    foreach("lerp_", firsts, grads, 1 - betas[0])
    scale_(seconds, betas[1])
    foreach("addcmul_", seconds, grads, grads, value=1 - betas[1])
    first, second = (_corrections(torch.stack(list(steps)), beta) for beta in betas)
    roots = foreach("sqrt", seconds)
    shift_(roots, eps * second.sqrt())
    return roots, second.sqrt() / first


def _corrections(steps: Tensor, beta: float) -> Tensor:
    """1 − βᵏ; by way of expm1, because in float32 the difference itself would lose digits."""
    return -torch.expm1(steps * (math.log(beta) if beta else -math.inf))


def adamw_(
    params: TensorList,
    grads: TensorList,
    firsts: TensorList,
    seconds: TensorList,
    steps: TensorList,
    lr: Rate,
    *,
    betas: Betas,
    eps: float,
    weight_decay: float,
) -> None:
    """One step, written into ``params``, ``firsts`` and ``seconds``.

    Args:
        params: n tensors w.
        grads: n tensors g, which stay as they are.
        firsts: n tensors m, 0 at first.
        seconds: n tensors v, 0 at first.
        steps: n tensors [], the count k of each parameter's steps, this one included.
        lr: learning rate.
        betas: as the other options, see `adamw`.
        eps: ε.
        weight_decay: λ.
    """
    roots, factor = moments_(grads, firsts, seconds, steps, betas, eps)
    if weight_decay:
        scale_(params, 1 - lr * weight_decay)
    scale_(roots, -1 / (lr * factor))
    foreach("addcdiv_", params, firsts, roots)


def adamw(betas: Betas = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2) -> UpdateRule:
    """AdamW as a rule; every parameter decays.

    Args:
        betas: β₁ and β₂ in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0; with 0 this is Adam.

    Raises:
        SpecError: if a value is out of its range.
    """
    require(
        len(betas) == 2 and all(0 <= beta < 1 for beta in betas), "betas", betas, "two, in [0, 1)"
    )
    require(eps >= 0, "eps", eps, "0 or larger")
    require(weight_decay >= 0, "weight_decay", weight_decay, "0 or larger")
    return with_moments(partial(adamw_, betas=betas, eps=eps, weight_decay=weight_decay))


def with_moments(
    step_: Callable[..., None], check: Callable[[Params], None] | None = None
) -> UpdateRule:
    """The rule whose state is two moments of each parameter, and the count of its steps.

    Complex parameters are taken as pairs of real ones, as torch does.

    Args:
        step_: (params, grads, firsts, seconds, steps, lr), in place on lists.
        check: refuses parameters that the optimizer cannot take.
    """

    def init(params: Params) -> OptimizerState:
        if check is not None:
            check(params)
        count = {name: w.new_zeros((), dtype=torch.float32) for name, w in params.items()}
        return {"first": tree.zeros_like(params), "second": tree.zeros_like(params), "step": count}

    def update(
        params: Params, grads: Params, state: OptimizerState, lr: Rate
    ) -> tuple[Params, OptimizerState]:
        if not grads:
            return params, state
        stepped, first, second = (
            {name: each[name].clone() for name in grads}
            for each in (params, state["first"], state["second"])
        )
        counted = foreach("add", [state["step"][name] for name in grads], 1)
        step = dict(zip(grads, counted, strict=True))
        step_(*([*each.values()] for each in (stepped, grads, first, second, step)), lr)
        after = {"first": first, "second": second, "step": step}
        return params | stepped, {name: state[name] | each for name, each in after.items()}

    return real_views(UpdateRule(init, update))
