"""The samples of a map-style torch ``Dataset``, read once: in order, and in parallel if it is slow.

Whoever reads a sample, it is the same: what a ``Dataset`` draws is seeded for each batch of 64.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from itertools import chain
from time import perf_counter
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset

from raydl.core.errors import SpecError, brief, first_sentence, require
from raydl.core.rng import forked, seed_draws
from raydl.core.task import Inputs
from raydl.data.forms.arrays import as_inputs, as_targets

_BATCH = 64  # samples that one process reads at a time
_PATIENCE = 2.0  # seconds of one process; what takes longer is read by several

# A part of each sample of a batch: stacked [b, ...], or a list of them if their shapes differ.
_Column: TypeAlias = npt.NDArray[Any] | list[npt.NDArray[Any]]
_Inputs: TypeAlias = _Column | dict[str, _Column]


def read(dataset: Dataset[Any], processes: int | None = None) -> tuple[Inputs, Tensor]:
    """The inputs and the targets of all samples, in their order.

    Args:
        dataset: whose samples are pairs (input, target): tensors, arrays, numbers, images of PIL's,
            or as input a dictionary of such. Sequences of unequal length are padded.
        processes: that read; 0 reads in this one. By default as many as there are cores, if this
            one alone would take seconds.

    Returns:
        Inputs [n, ...], or a dictionary of them, images [n, C, H, W]; and targets [n, ...].

    Raises:
        SpecError: if a sample cannot be read, or is no such pair.
    """
    batches = _Batches(dataset)
    with forked(host=True):
        started = perf_counter()
        columns = [_sound(batches[0])]
        if processes is None:
            seconds = (perf_counter() - started) * (len(batches) - 1)
            processes = _cores() if seconds > _PATIENCE else 0
        rest = Subset(batches, range(1, len(batches)))
        columns += map(_sound, _loader(rest, min(processes, len(rest))))
    inputs, targets = zip(*columns, strict=True)
    if isinstance(inputs[0], dict):
        joined = {name: _join([each[name] for each in inputs]) for name in inputs[0]}
    else:
        joined = _join(inputs)
    return as_inputs("data's inputs", joined), as_targets("data's targets", _join(targets))


def check_processes(given: int | None) -> None:
    """Raises a SpecError unless so many processes can read."""
    require(given is None or given >= 0, "data.processes", given, "0 or larger, or null")


class _Batches(Dataset[Any]):
    """Batches of samples; one that cannot be read is the error, so that it reaches the user."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset
        self._samples = len(dataset)  # type: ignore[arg-type]  # as every map-style one has

    def __len__(self) -> int:
        return (self._samples + _BATCH - 1) // _BATCH

    def __getitem__(self, number: int) -> Any:
        rows = range(number * _BATCH, min((number + 1) * _BATCH, self._samples))
        seed_draws(0, "reading", number, host=True)
        try:
            at_once = getattr(self._dataset, "__getitems__", None)
            samples = at_once([*rows]) if at_once else [self._dataset[row] for row in rows]
            return _stack_samples(samples, rows.start)
        except SpecError as error:
            return error
        except Exception as error:  # noqa: BLE001  # whatever the user's own code raises
            reason = f"{type(error).__name__}: {first_sentence(error)}"
            return SpecError(
                f"data's samples {rows.start} to {rows[-1]} cannot be read: {reason}; the data set "
                "must give each of its samples by number"
            )


def _sound(batch: Any) -> Any:
    """A batch that could be read.

    Raises:
        SpecError: if it could not.
    """
    if isinstance(batch, SpecError):
        raise batch
    return batch


def _loader(batches: Subset[Any], processes: int) -> DataLoader[Any]:
    fork = sys.platform == "linux" and "fork" in multiprocessing.get_all_start_methods()
    return DataLoader(
        batches,
        batch_size=None,
        collate_fn=_as_it_is,
        num_workers=processes,
        multiprocessing_context="fork" if fork and processes else None,
    )


def _as_it_is(batch: Any) -> Any:
    return batch


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _stack_samples(samples: Sequence[Any], first: int) -> tuple[_Inputs, _Column]:
    """A batch whose first sample has that number."""
    for at, sample in enumerate(samples, first):
        if not isinstance(sample, list | tuple) or len(sample) != 2:
            raise SpecError(
                f"data's sample {at} is {brief(sample)}; it must be a pair (input, target), the "
                "input a tensor, an array or a dictionary of them"
            )
    inputs, targets = zip(*samples, strict=True)
    named = {
        name: _stack(f"input {name}".rstrip(), each, first)
        for name, each in _by_name(inputs, first).items()
    }
    return named.get("", named), _stack("target", targets, first)


def _by_name(inputs: Sequence[Any], first: int) -> dict[str, list[Any]]:
    """The inputs of a batch as a list for each name; of no dictionaries under an empty one."""
    if not isinstance(inputs[0], Mapping):
        return {"": [*inputs]}
    for at, each in enumerate(inputs, first):
        if not isinstance(each, Mapping) or each.keys() != inputs[0].keys():
            names = ", ".join(map(str, inputs[0]))
            raise SpecError(
                f"data's sample {at} has the input {brief(each)}; it must be a dictionary with "
                f"{names}, as those before it"
            )
    return {name: [each[name] for each in inputs] for name in inputs[0]}


def _stack(what: str, values: Sequence[Any], first: int) -> _Column:
    arrays = [_as_array(f"data's sample {at}: its {what}", v) for at, v in enumerate(values, first)]
    return np.stack(arrays) if len({each.shape for each in arrays}) == 1 else arrays


def _as_array(field: str, value: Any) -> npt.NDArray[Any]:
    """A part of a sample as an array; an image of PIL's as uint8 [C, H, W]."""
    array: npt.NDArray[Any]
    pillow = sys.modules.get("PIL.Image")
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        array = (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    elif pillow and isinstance(value, pillow.Image):
        array = np.asarray(value.convert("L" if value.mode in ("1", "L") else "RGB"))
        array = np.atleast_3d(array).transpose(2, 0, 1)
    else:
        array = np.asarray(value)
    if array.dtype.kind not in "biuf":
        raise SpecError(
            f"{field} is {brief(value)}; it must be numbers: an array, a tensor or an image"
        )
    return array


def _join(columns: Sequence[_Column]) -> Any:
    """A column of all batches: an array [n, ...], or a list if its samples have unequal shapes."""
    shapes = {each.shape[1:] if isinstance(each, np.ndarray) else None for each in columns}
    if len(shapes) == 1 and None not in shapes:
        return np.concatenate(columns)
    return [*chain.from_iterable(columns)]
