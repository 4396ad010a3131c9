"""Seconds of an optimizer's step on the parameters of ResNet-18: LARS and LAMB beside torch's."""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from raydl.optim import TorchLAMB, TorchLARS
from tests.benchmarks.timing import paired

_SGD = {"lr": 1e-3, "momentum": 0.9, "weight_decay": 1e-4}
_ADAMW = {"lr": 1e-3, "weight_decay": 1e-2}

# name -> the optimizer, and the one of torch's that it is compared with
_CONTENDERS: dict[str, tuple[Callable[[list[Tensor]], torch.optim.Optimizer], str]] = {
    "torch SGD": (lambda params: torch.optim.SGD(params, foreach=True, **_SGD), "torch SGD"),
    "LARS": (lambda params: TorchLARS(params, **_SGD), "torch SGD"),
    "torch AdamW": (
        lambda params: torch.optim.AdamW(params, foreach=True, **_ADAMW),
        "torch AdamW",
    ),
    "LAMB": (lambda params: TorchLAMB(params, **_ADAMW), "torch AdamW"),
}


def measure(repeats: int) -> dict[str, Any]:
    """Times one step of each optimizer in turn, on as many threads as torch is set to.

    Args:
        repeats: steps of each, after two that are not timed.

    Returns:
        ``parameters``, ``threads`` and ``optimizers``: for each name ``seconds`` of each step,
        their ``median`` and the ``ratio`` to torch's ``foreach`` SGD or AdamW, turn by turn.
    """
    shapes = _resnet18_shapes()
    grads = [torch.randn(shape) for shape in shapes]
    steps = {name: _prepared(make, grads) for name, (make, _) in _CONTENDERS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    order = list(steps)
    for turn in range(2 + repeats):
        for name in order:
            began = perf_counter()
            steps[name]()
            if turn >= 2:
                seconds[name].append(perf_counter() - began)
        order = order[1:] + order[:1]
    return {
        "parameters": sum(shape.numel() for shape in shapes),
        "threads": torch.get_num_threads(),
        "optimizers": {
            name: {
                "seconds": seconds[name],
                "median": median(seconds[name]),
                "ratio": paired(seconds[name], seconds[beside]),
            }
            for name, (_, beside) in _CONTENDERS.items()
        },
    }


def _prepared(
    make: Callable[[list[Tensor]], torch.optim.Optimizer], grads: list[Tensor]
) -> Callable[[], Any]:
    params = [torch.randn_like(grad).requires_grad_() for grad in grads]
    for each, grad in zip(params, grads, strict=True):
        each.grad = grad  # one set for all: no optimizer writes into it
    return make(params).step


def _resnet18_shapes() -> list[torch.Size]:
    from torchvision.models import resnet18

    model: nn.Module = resnet18()
    return [each.shape for each in model.parameters()]
