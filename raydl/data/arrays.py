"""Arrays and lists as tensors."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydl.core.errors import SpecError, brief


def as_tensor(field: str, given: Any) -> Tensor:
    """A tensor of what was given: a tensor, an array, or lists of numbers.

    Memory is shared where that can be; a graph is left behind.

    Raises:
        SpecError: if it does not hold numbers, or rows of different lengths.
    """
    if isinstance(given, Tensor):
        if given.layout == torch.strided:
            return given.detach() if given.requires_grad else given
        raise SpecError(f"{field} is a {given.layout} tensor; it must be dense: {field}.to_dense()")
    try:
        if isinstance(given, list | tuple) and given and all(map(torch.is_tensor, given)):
            return torch.stack([each.detach() for each in given])
        array = np.asarray(given)
        # torch takes neither foreign byte orders nor negative strides, and warns of read-only.
        array = np.require(array, array.dtype.newbyteorder("="), ["C", "W"])
        return torch.from_numpy(array)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SpecError(
            f"{field} is {brief(given)}, which cannot become a tensor ({error}); it must be a "
            "tensor, an array or lists of numbers, rows of equal length"
        ) from error


def as_tensor_or_none(field: str, given: Any) -> Tensor | None:
    """As `as_tensor`; None stays None."""
    return None if given is None else as_tensor(field, given)


def as_numbers(field: str, given: Any) -> tuple[float, ...] | None:
    """One number, or a number for each channel or feature, as a tuple; None stays None."""
    if given is None:
        return None
    values = as_tensor(field, given)
    if values.numel() != max(values.shape, default=1) or values.is_complex():
        raise SpecError(f"{field} is {brief(given)}; it must be one number, or a list of them")
    return tuple(values.flatten().tolist())
