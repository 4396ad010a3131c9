"""Many steps of an optimizer on drawn gradients, whichever form the optimizer has."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from raydl.core.tree import Params
from raydl.optim import UpdateRule

_SHAPES = {"conv": (6, 3, 2, 2), "norm": (6,), "weight": (11, 24), "bias": (11,)}


def start(size: float = 1.0) -> Params:
    """Parameters as a small network has them, drawn with standard deviation ``size``."""
    draws = torch.Generator().manual_seed(0)
    return {name: size * torch.randn(shape, generator=draws) for name, shape in _SHAPES.items()}


def gradients(params: Params, steps: int) -> Iterator[Params]:
    """Standard normal gradients of ``params``."""
    draws = torch.Generator().manual_seed(1)
    for _ in range(steps):
        yield {name: torch.randn(each.shape, generator=draws) for name, each in params.items()}


def by_optimizer(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], params: Params, steps: int = 100
) -> Params:
    """The parameters after so many steps of a torch optimizer."""
    trained = {name: each.clone().requires_grad_() for name, each in params.items()}
    optimizer = make(list(trained.values()))
    for grads in gradients(params, steps):
        for name, each in trained.items():
            each.grad = grads[name]
        optimizer.step()
    return {name: each.detach() for name, each in trained.items()}


def by_rule(rule: UpdateRule, params: Params, lr: float, steps: int = 100) -> Params:
    """The parameters after so many steps of a rule."""
    state = rule.init(params)
    for grads in gradients(params, steps):
        params, state = rule.update(params, grads, state, lr)
    return params


def weights_and_others(params: list[Tensor], weight_decay: float) -> list[dict[str, object]]:
    """The two groups that others' optimizers need: only tensors of two dimensions decay."""
    return [
        {"params": [each for each in params if each.dim() > 1], "weight_decay": weight_decay},
        {"params": [each for each in params if each.dim() < 2], "weight_decay": 0.0},
    ]


@torch.no_grad()
def apart(a: Params, b: Params) -> float:
    """The largest distance of two tensors of the same name, relative to the first."""
    return max(float((a[name] - b[name]).norm() / a[name].norm()) for name in a)


def equal(a: Params, b: Params) -> bool:
    """Whether all tensors are the same bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
