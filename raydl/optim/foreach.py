"""Operations on lists of tensors, in place: the few that the optimizers are made of.

Each is one ``torch._foreach_*`` call. ``torch.func``'s transforms have no rules for those, so under
them it is a loop over the tensors, with the same numbers.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import torch
from torch import Tensor

from raydl.core.environment import compat

TensorList: TypeAlias = Sequence[Tensor]
Factor: TypeAlias = float | Tensor  # a number or a tensor [] for all, or [n], one for each of n

# What torch.vmap has no rule for, in words that it has.
_WITHOUT_RULE: dict[str, Callable[..., Tensor]] = {
    "addcdiv_": lambda y, a, b: y.add_(a / b),
    "addcmul_": lambda y, a, b, value=1.0: y.add_(a * b, alpha=value),
    "lerp_": lambda y, x, weight: y.add_(x - y, alpha=weight),
}


def foreach(
    name: str, tensors: TensorList, *others: TensorList | float, **scalars: Any
) -> TensorList:
    """Calls ``torch._foreach_{name}``, or the tensors' own method under a transform.

    Args:
        name: of the method; one that ends in ``_`` changes ``tensors``.
        tensors: n tensors.
        others: further arguments: numbers, or lists of n tensors.
        scalars: arguments by name.

    Returns:
        What the method gives for each of the n tensors; nothing that counts if it works in place.
    """
    if not compat.are_transforms_active():
        listed: TensorList = compat.foreach(name)(tensors, *others, **scalars)
        return listed
    method = _WITHOUT_RULE.get(name) or getattr(Tensor, name)
    columns = [repeat(each) if isinstance(each, float | int) else each for each in others]
    return [method(*row, **scalars) for row in zip(tensors, *columns, strict=False)]


def scale_(tensors: TensorList, factor: Factor) -> None:
    """X ← factor · x."""
    foreach("mul_", tensors, _each(factor, len(tensors)))


def shift_(tensors: TensorList, addend: Factor) -> None:
    """X ← x + addend."""
    foreach("add_", tensors, _each(addend, len(tensors)))


def axpy_(ys: TensorList, factor: Factor, xs: TensorList) -> None:
    """Y ← y + factor · x, without a temporary."""
    if isinstance(factor, Tensor):
        foreach("addcmul_", ys, xs, _each(factor, len(ys)))
    else:
        foreach("add_", ys, xs, alpha=factor)


def divide_(xs: TensorList, ys: TensorList) -> None:
    """Y ← x / y, without a temporary."""
    foreach("reciprocal_", ys)
    foreach("mul_", ys, xs)


def norms(tensors: TensorList) -> Tensor:
    """The Euclidean norms [n], of half-precision tensors in float32."""
    dtype = torch.promote_types(tensors[0].dtype, torch.float32)
    return torch.stack(list(foreach("norm", tensors, 2, dtype=dtype)))


def _each(factor: Factor, n: int) -> TensorList | float:
    if not isinstance(factor, Tensor):
        return factor
    return factor.unbind() if factor.dim() else [factor] * n
