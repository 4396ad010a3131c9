"""Layer-wise adaptation: which tensors have a trust ratio, and how their lists are cut.

LARS and LAMB scale the step of each tensor by a trust ratio, so that it moves in proportion to its
own norm. Biases and the scales and shifts of normalization, tensors of fewer than two dimensions,
have none and do not decay, as in both papers' experiments.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.optim.foreach import TensorList

Adapt: TypeAlias = bool | None

_CACHED = 1 << 20  # bytes of parameters: with gradients and moments, what a core's cache holds


def portions(
    adapt: Adapt, weight_decay: float, params: TensorList, *others: TensorList
) -> Iterator[tuple[tuple[bool, float], list[TensorList]]]:
    """Cuts lists into portions that are treated alike, and small enough for a CPU's cache.

    Args:
        adapt: None: tensors of two or more dimensions have a trust ratio and decay, the others
            neither; True: all do both; False: all decay and none has a ratio.
        weight_decay: λ.
        params: n tensors.
        others: lists of n tensors that belong to them, or of none.

    Yields:
        Whether the portion has trust ratios and what its λ is; the lists cut to the portion.
    """
    for adapts, places in _places(adapt, params):
        decay = weight_decay if adapts or adapt is False else 0.0
        lists: list[TensorList] = [
            [each[at] for at in places] if each else [] for each in (params, *others)
        ]
        yield (adapts, decay), lists


def ratio(norms: Tensor, others: Tensor, quotient: Tensor) -> Tensor:
    """The trust ratios [n]: ``quotient`` [n], and 1 where either of the norms [n] is 0."""
    return torch.where((norms > 0) & (others > 0), quotient, 1.0)


def require_adapted(name: str, adapt: Adapt, params: Iterable[Tensor]) -> None:
    """Refuses complex parameters, and those of which none would have a trust ratio unasked.

    Raises:
        SpecError: if a tensor is complex, or ``adapt`` is None and none has two dimensions or more.
    """
    params = list(params)
    for each in params:
        require(not each.is_complex(), "a parameter's dtype", each.dtype, f"real for {name}")
    if adapt is None and not any(_adapts(adapt, each) for each in params):
        raise SpecError(
            f"{name} is given no parameter of two or more dimensions, so that none would decay or "
            "have a trust ratio; give adapt=True to treat all alike, or take SGD or AdamW"
        )


def _adapts(adapt: Adapt, tensor: Tensor) -> bool:
    return tensor.dim() > 1 if adapt is None else adapt


def _places(adapt: Adapt, params: TensorList) -> Iterator[tuple[bool, list[int]]]:
    passed: Counter[tuple[torch.device, torch.dtype, bool]] = Counter()
    places: dict[tuple[object, ...], list[int]] = {}
    for at, each in enumerate(params):
        kind = (each.device, each.dtype, _adapts(adapt, each))
        stretch = passed[kind] // _CACHED if each.is_cpu else 0
        passed[kind] += each.numel() * each.element_size()
        places.setdefault((*kind, stretch), []).append(at)
    return ((_adapts(adapt, params[chosen[0]]), chosen) for chosen in places.values())
