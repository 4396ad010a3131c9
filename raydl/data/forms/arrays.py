"""Arrays, lists and columns of tables as tensors."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from raydl.core.errors import SpecError, brief
from raydl.core.task import Inputs
from raydl.data.dataset import PADDING
from raydl.data.forms import frames

PerChannel: TypeAlias = tuple[float, ...]  # a number for each channel or feature, or one for all


def as_tensor(field: str, given: Any) -> Tensor:
    """A tensor of what was given: a tensor, an array, lists of numbers, pandas' columns of them.

    Memory is shared where that can be; a graph is left behind.

    Raises:
        SpecError: if it does not hold numbers, or rows of different lengths.
    """
    if isinstance(given, Tensor):
        if given.layout == torch.strided:
            return given.detach() if given.requires_grad else given
        raise SpecError(f"{field} is a {given.layout} tensor; it must be dense: {field}.to_dense()")
    if frames.is_pandas(given):
        given = frames.to_array(field, given)
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
            "tensor, an array or lists of numbers, rows of equal length; for classes that are "
            "words take numpy.unique(words, return_inverse=True)[1]"
        ) from error


def as_inputs(field: str, given: Any) -> Inputs:
    """Inputs as a tensor [n, ...], or of a dictionary as one of them.

    Sequences of unequal length are padded with zeros at their ends, and a DataFrame is features.

    Raises:
        SpecError: as `as_tensor` does.
    """
    if isinstance(given, Mapping):
        if not given or not all(isinstance(name, str) for name in given):
            raise SpecError(
                f"{field} is {brief(given)}; the keys of a dictionary of inputs must be words: the "
                "names of the model's arguments"
            )
        return {name: _as_input(f"{field}.{name}", each) for name, each in given.items()}
    return _as_input(field, given)


def _as_input(field: str, given: Any) -> Tensor:
    if frames.is_table(given):
        return as_tensor(field, given).float()
    given = _listed(given)
    return _pad(field, given, 0) if _is_unequal(given) else as_tensor(field, given)


def as_targets(field: str, given: Any) -> Tensor:
    """Targets as a tensor [n, ...]; sequences of classes of unequal length are padded with -100.

    Raises:
        SpecError: as `as_tensor` does, and of sequences of numbers that are no classes.
    """
    given = _listed(given)
    if not _is_unequal(given):
        return as_tensor(field, given)
    padded = _pad(field, given, PADDING)
    if padded.is_floating_point():
        raise SpecError(
            f"{field} is {brief(given)}, sequences of unequal length; only classes can be padded, "
            "with -100: of numbers give rows of equal length"
        )
    return padded


def as_owners(field: str, given: Any) -> Tensor:
    """The owner of each sample as an integer: names are numbered in their order.

    Raises:
        SpecError: as `as_tensor` does.
    """
    array = frames.to_array(field, given) if frames.is_pandas(given) else given
    if not isinstance(array, Tensor):
        array = np.asarray(array)
        if array.dtype.kind in "OSUT":
            array = np.unique(array.astype(str), return_inverse=True)[1]
    return as_tensor(field, array)


def or_none(bring: Callable[[str, Any], Any]) -> Callable[[str, Any], Any]:
    """What brings a field to its kind, but leaves None as it is."""
    return lambda field, given: None if given is None else bring(field, given)


def as_scale(field: str, given: Any) -> PerChannel | dict[str, PerChannel] | None:
    """One number, or one for each channel or feature; of a dictionary of inputs, by their names."""
    if isinstance(given, Mapping):
        return {str(name): _as_numbers(f"{field}.{name}", each) for name, each in given.items()}
    return None if given is None else _as_numbers(field, given)


def _as_numbers(field: str, given: Any) -> PerChannel:
    values = as_tensor(field, given)
    if values.numel() != max(values.shape, default=1) or values.is_complex():
        raise SpecError(f"{field} is {brief(given)}; it must be one number, or a list of them")
    return tuple(values.flatten().tolist())


def _listed(given: Any) -> Any:
    """An array or a Series of objects, such as lists, as a list of them; anything else as it is."""
    kind = getattr(getattr(given, "dtype", None), "kind", "")
    return list(given) if kind == "O" and given.ndim == 1 else given


def _is_unequal(given: Any) -> bool:
    """Whether what was given is a list of sequences of unequal length, or of unequal arrays."""
    if not isinstance(given, list | tuple) or not all(map(_is_sequence, given)):
        return False
    return len({tuple(getattr(each, "shape", (len(each),))) for each in given}) > 1


def _is_sequence(given: Any) -> bool:
    arrays = isinstance(given, np.ndarray | Tensor) and given.ndim > 0
    return arrays or isinstance(given, list | tuple)


def _pad(field: str, rows: Sequence[Any], value: int) -> Tensor:
    """Sequences [T_k, ...] as one tensor [n, T, ...], as long as the longest of them."""
    sequences = [as_tensor(f"{field}[{at}]", each) for at, each in enumerate(rows)]
    shapes = sorted({tuple(each.shape) for each in sequences if each.numel()})
    if len({each[1:] for each in shapes}) > 1 or len(shapes[0]) == 3:
        raise SpecError(
            f"{field} has samples of shapes {shapes[0]} and {shapes[-1]}, which cannot be padded: "
            "of sequences only the first dimension may differ; bring images to one size, such as "
            "by torchvision.transforms.v2.Resize((64, 64))"
        )
    dtype = reduce(torch.promote_types, [each.dtype for each in sequences if each.numel()])
    return pad_sequence([each.to(dtype) for each in sequences], True, value)
