"""What torch and Python keep to themselves and raydl uses all the same, in one place.

Nothing public tells or does the same. A test of each fails once a new version is without it. What
is Ray's stands beside the code that knows Ray.
"""

from argparse import Action, ArgumentParser
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Every normalization over a batch, and those of them that keep running statistics: torch has no
# public name for either.
BATCH_NORMS = nn.modules.batchnorm._BatchNorm
RUNNING_NORMS = nn.modules.batchnorm._NormBase


def version(tensor: Tensor) -> int:
    """How often a tensor was written to: a pass that writes to a parameter shows in nothing else.

    A comparison of values would read all of them, and miss a write of what was there.
    """
    return tensor._version


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """Where a module keeps its own buffers, to put others there.

    ``setattr`` does as much, but by way of a ``__setattr__`` that may be the user's.
    """
    return module._buffers


def own_parameters(module: nn.Module) -> dict[str, Any]:
    """Where a module keeps its own parameters, to put tensors there that are no ``nn.Parameter``.

    ``setattr`` refuses those.
    """
    return module._parameters


def has_hooks(parameter: Tensor) -> bool:
    """Whether a parameter has hooks on its gradient, of which torch shows no list."""
    return bool(parameter._backward_hooks or parameter._post_accumulate_grad_hooks)


def are_transforms_active() -> bool:
    """Whether a transform of ``torch.func`` is at work, for which ``_foreach_*`` has no rules."""
    return torch._C._are_functorch_transforms_active()


def foreach(name: str) -> Callable[..., Any]:
    """The operation ``torch._foreach_{name}`` on lists of tensors: one kernel for all of them.

    ``torch.optim`` is made of these, but has no public name for them.
    """
    operation: Callable[..., Any] = getattr(torch, f"_foreach_{name}")
    return operation


def is_protocol(cls: type) -> bool:
    """Whether a class is a ``typing.Protocol``; ``typing.is_protocol`` is there from 3.13 on."""
    return bool(getattr(cls, "_is_protocol", False))


def actions(parser: ArgumentParser) -> list[Action]:
    """The options of a parser of ``argparse``, or of one made of it, which shows no list."""
    return parser._actions
