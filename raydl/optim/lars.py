"""LARS: stochastic gradient descent in which each tensor's step follows the tensor's own norm.

    t = η ‖w‖ / (‖g‖ + λ ‖w‖ + ε), or 1 where either norm is 0
    v ← μ v + t (g + λ w)
    w ← w − lr v, or with Nesterov momentum w ← w − lr (t (g + λ w) + μ v)

Y. You, I. Gitman, B. Ginsburg, "Large Batch Training of Convolutional Networks", arXiv:1708.03888,
2017. The rate stands where ``torch.optim.SGD`` has it; the paper has it inside of v, which is the
same while the rate is constant. The clipping is that of LARC, in NVIDIA's Apex.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor
from torch.optim.optimizer import ParamsT

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim.foreach import Factor, TensorList, axpy_, norms, scale_
from raydl.optim.rule import OptimizerState, Rate, UpdateRule
from raydl.optim.sgd import sgd
from raydl.optim.spec import OptimizerSpec
from raydl.optim.torch_optimizer import AdaptiveOptimizer
from raydl.optim.trust import Adapt, portions, ratio, require_adapted


@dataclass(frozen=True)
class LARS(OptimizerSpec):
    """SGD whose rate is adapted layer by layer, for large batches.

    Args:
        lr: learning rate.
        momentum: momentum, in [0, 1).
        nesterov: whether the momentum looks ahead.
        weight_decay: L2 decay, of tensors with two or more dimensions.
        trust: trust coefficient (η) of the layers' rates.
        clip: whether a layer's rate is held below the learning rate (LARC).
    """

    lr: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    trust: float = 1e-3
    clip: bool = False

    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
        return lars(
            self.momentum,
            nesterov=self.nesterov,
            weight_decay=self.weight_decay,
            trust=self.trust,
            clip=self.clip,
        )


def lars_(
    params: TensorList,
    grads: TensorList,
    velocities: TensorList,
    lr: Rate,
    *,
    momentum: float,
    nesterov: bool,
    weight_decay: float,
    trust: float,
    eps: float,
    clip: bool,
    adapt: Adapt,
) -> None:
    """One step, written into ``params`` and ``velocities``.

    Args:
        params: n tensors w.
        grads: n tensors g, which stay as they are.
        velocities: n tensors v, 0 at first; none without momentum.
        lr: learning rate.
        momentum: as the other options, see `lars`.
        nesterov: whether the momentum looks ahead.
        weight_decay: λ.
        trust: η.
        eps: ε.
        clip: whether t · lr is at most lr.
        adapt: which tensors decay and have a trust ratio.
    """
    for (adapts, decay), (ws, gs, vs) in portions(adapt, weight_decay, params, grads, velocities):
        t: Factor = 1.0
        if adapts:
            w, g = norms(ws), norms(gs)
            t = ratio(w, g, trust * w / (g + decay * w + eps))
            t = (t / lr).clamp(max=1.0) if clip else t
        _descend_(ws, gs, vs, lr, t, momentum, decay, nesterov=nesterov)


def _descend_(
    ws: TensorList,
    gs: TensorList,
    vs: TensorList,
    lr: Rate,
    t: Factor,
    momentum: float,
    decay: float,
    *,
    nesterov: bool,
) -> None:
    """A step of SGD with t (g + λ w) for a gradient, of which no tensor is ever made."""
    if momentum:
        scale_(vs, momentum)
        axpy_(vs, t, gs)
        if decay:
            axpy_(vs, t * decay, ws)
    if not momentum or nesterov:
        if decay:
            scale_(ws, 1 - lr * t * decay)
        axpy_(ws, -lr * t, gs)
    if momentum:
        axpy_(ws, -lr * momentum if nesterov else -lr, vs)


def lars(
    momentum: float = 0.9,
    *,
    nesterov: bool = False,
    weight_decay: float = 0.0,
    trust: float = 1e-3,
    eps: float = 1e-8,
    clip: bool = False,
    adapt: Adapt = None,
) -> UpdateRule:
    """LARS as a rule, with the numbers of `TorchLARS`.

    Args:
        momentum: μ in [0, 1).
        nesterov: whether the momentum looks ahead; needs one above 0.
        weight_decay: λ ≥ 0.
        trust: the trust coefficient η > 0.
        eps: ε ≥ 0.
        clip: whether the rate is only ever made smaller, t ← min(t / lr, 1), as in LARC.
        adapt: None: tensors of two or more dimensions decay and have a trust ratio, the others
            (biases, normalization) neither; True: all tensors do both; False: all decay and none
            has a ratio, which is SGD.

    Raises:
        SpecError: if a value is out of its range; of ``init``, if no tensor would have a ratio.
    """
    sgd(momentum, nesterov=nesterov, weight_decay=weight_decay)
    require(trust > 0, "trust", trust, "above 0")
    require(eps >= 0, "eps", eps, "0 or larger")
    step_ = partial(
        lars_,
        momentum=momentum,
        nesterov=nesterov,
        weight_decay=weight_decay,
        trust=trust,
        eps=eps,
        clip=clip,
        adapt=adapt,
    )

    def init(params: Params) -> OptimizerState:
        require_adapted("LARS", adapt, params.values())
        return tree.zeros_like(params) if momentum else {}

    def update(
        params: Params, grads: Params, state: OptimizerState, lr: Rate
    ) -> tuple[Params, OptimizerState]:
        stepped = {name: params[name].clone() for name in grads}
        velocities = {name: state[name].clone() for name in grads if momentum}
        step_([*stepped.values()], [*grads.values()], [*velocities.values()], lr)
        return params | stepped, state | velocities

    return UpdateRule(init, update, elementwise=False)


class TorchLARS(AdaptiveOptimizer):
    """LARS as a ``torch.optim.Optimizer``; each group may have options of its own.

    Args:
        params: parameters, or groups of them.
        lr: learning rate ≥ 0.
        momentum: as the other options, see `lars`.
        nesterov: whether the momentum looks ahead.
        weight_decay: λ.
        trust: η.
        eps: ε.
        clip: whether t · lr is at most lr.
        adapt: which tensors decay and have a trust ratio.

    Raises:
        SpecError: if an option is out of its range, or no parameter would have a ratio.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(3, 2)
        >>> optimizer = TorchLARS(model.parameters(), lr=1.5, weight_decay=5e-4)
        >>> model(torch.ones(1, 3)).sum().backward()
        >>> optimizer.step()
    """

    def __init__(
        self,
        params: ParamsT,
        lr: Rate,
        momentum: float = 0.9,
        *,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        trust: float = 1e-3,
        eps: float = 1e-8,
        clip: bool = False,
        adapt: Adapt = None,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            momentum=momentum,
            nesterov=nesterov,
            weight_decay=weight_decay,
            trust=trust,
            eps=eps,
            clip=clip,
            adapt=adapt,
        )

    def _check(self, options: dict[str, Any]) -> None:
        lars(**options)

    def _update(self, params: list[Tensor], grads: list[Tensor], **options: Any) -> None:
        velocities = self._states(params, "momentum_buffer") if options["momentum"] else []
        lars_(params, grads, velocities, **options)
