"""LAMB: AdamW in which each tensor's step has the length of the tensor's own norm.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²
    m̂ = m / (1 − β₁ᵏ);  v̂ = v / (1 − β₂ᵏ) at step k = 1, 2, ...
    u = m̂ / (√v̂ + ε) + λ w
    w ← w − lr t u with t = ‖w‖ / ‖u‖, or 1 where either norm is 0

Y. You, J. Li, S. Reddi et al., "Large Batch Optimization for Deep Learning: Training BERT in 76
minutes", ICLR 2020, with the bias correction of its Algorithm 2 and φ the identity.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from raydl.optim.adamw import Betas, adamw, adamw_, moments_, with_moments
from raydl.optim.foreach import TensorList, axpy_, divide_, foreach, norms
from raydl.optim.rule import Rate, UpdateRule
from raydl.optim.spec import OptimizerSpec
from raydl.optim.torch_optimizer import AdaptiveOptimizer
from raydl.optim.trust import Adapt, portions, ratio, require_adapted


@dataclass(frozen=True)
class LAMB(OptimizerSpec):
    """AdamW whose step is adapted layer by layer, for large batches.

    Args:
        lr: learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        eps: number added to the root of the second moment.
        weight_decay: decoupled decay of tensors with two or more dimensions.
        clip: whether a layer's trust ratio is held at 1 or below.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.01
    clip: bool = False

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return lamb(self.betas, self.eps, self.weight_decay, clip=self.clip)


def lamb_(
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
    clip: bool,
    adapt: Adapt,
) -> None:
    """One step, written into ``params``, ``firsts`` and ``seconds``.

    Args:
        params: n tensors w.
        grads: n tensors g, which stay as they are.
        firsts: n tensors m, 0 at first.
        seconds: n tensors v, 0 at first.
        steps: n tensors [], the count k of each parameter's steps, this one included.
        lr: learning rate.
        betas: as the other options, see `lamb`.
        eps: ε.
        weight_decay: λ.
        clip: whether t is at most 1.
        adapt: which tensors decay and have a trust ratio.
    """
    lists = (params, grads, firsts, seconds, steps)
    for (adapts, decay), (ws, gs, ms, vs, ks) in portions(adapt, weight_decay, *lists):
        if not adapts:
            adamw_(ws, gs, ms, vs, ks, lr, betas=betas, eps=eps, weight_decay=decay)
            continue
        updates, factor = moments_(gs, ms, vs, ks, betas, eps)
        divide_(ms, updates)
        if decay:
            axpy_(updates, decay / factor, ws)  # now u is factor · updates
        w, u = norms(ws), factor * norms(updates)
        t = ratio(w, u, w / u)
        t = t.clamp(max=1.0) if clip else t
        axpy_(ws, -lr * t * factor, updates)


def lamb(
    betas: Betas = (0.9, 0.999),
    eps: float = 1e-6,
    weight_decay: float = 1e-2,
    *,
    clip: bool = False,
    adapt: Adapt = None,
) -> UpdateRule:
    """LAMB as a rule, with the numbers of `TorchLAMB`.

    Args:
        betas: β₁ and β₂ in [0, 1).
        eps: ε ≥ 0.
        weight_decay: λ ≥ 0.
        clip: whether the step is only ever made shorter, t ← min(t, 1).
        adapt: None: tensors of two or more dimensions decay and have a trust ratio, the others
            (biases, normalization) neither; True: all tensors do both; False: all decay and none
            has a ratio, which is AdamW.

    Raises:
        SpecError: if a value is out of its range; of ``init``, if no tensor would have a ratio.
    """
    adamw(betas, eps, weight_decay)
    step_ = partial(lamb_, betas=betas, eps=eps, weight_decay=weight_decay, clip=clip, adapt=adapt)
    rule = with_moments(step_, lambda params: require_adapted("LAMB", adapt, params.values()))
    return rule._replace(elementwise=False)


class TorchLAMB(AdaptiveOptimizer):
    """LAMB as a ``torch.optim.Optimizer``; each group may have options of its own.

    Args:
        params: parameters, or groups of them.
        lr: learning rate ≥ 0.
        betas: as the other options, see `lamb`.
        eps: ε.
        weight_decay: λ.
        clip: whether t is at most 1.
        adapt: which tensors decay and have a trust ratio.

    Raises:
        SpecError: if an option is out of its range, or no parameter would have a ratio.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = TorchLAMB(model.parameters(), lr=1e-2)
        >>> model(torch.ones(1, 3)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Rate,
        betas: Betas = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 1e-2,
        *,
        clip: bool = False,
        adapt: Adapt = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            betas=betas,
            eps=eps,
            weight_decay=weight_decay,
            clip=clip,
            adapt=adapt,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for each, kept in self.state.items():  # torch leaves the count where it was loaded
            kept["step"] = kept["step"].to(each.device)

    def _check(self, options: dict[str, Any]) -> None:
        lamb(**options)

    def _update(self, params: list[Tensor], grads: list[Tensor], **options: Any) -> None:
        firsts = self._states(params, "exp_avg")
        seconds = self._states(params, "exp_avg_sq")
        steps = self._counts(params)
        foreach("add_", steps, 1)
        lamb_(params, grads, firsts, seconds, steps, **options)

    def _counts(self, params: list[Tensor]) -> list[Tensor]:
        for each in params:
            if "step" not in self.state[each]:
                self.state[each]["step"] = each.new_zeros((), dtype=torch.float32)
        return [self.state[each]["step"] for each in params]
