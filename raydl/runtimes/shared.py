"""One copy of the data for all processes of a node, in Ray's object store."""

import warnings
from dataclasses import replace
from functools import cache

import numpy as np
import ray
import torch

from raydl.data.dataset import Split
from raydl.runtimes.problem import Problem

_PARTS = ("train", "validation", "test")


def share(problem: Problem) -> tuple[ray.ObjectRef, ray.ObjectRef]:
    """References to a problem without its samples, and to the samples: for `attached`."""
    arrays = {
        f"{part}.{name}": tensor.numpy()
        for part in _PARTS
        for name, tensor in getattr(problem.dataset, part)._asdict().items()
    }
    empty = {part: getattr(problem.dataset, part).none() for part in _PARTS}
    without = replace(problem.dataset, owners=None, **empty)
    return ray.put(replace(problem, dataset=without)), ray.put(arrays)


def attached(problem: Problem, arrays: dict[str, np.ndarray]) -> Problem:
    """The problem with the samples that `share` took out; they lie in Ray's memory."""
    splits = {
        part: Split(**{name: as_tensor(arrays[f"{part}.{name}"]) for name in Split._fields})
        for part in _PARTS
    }
    return replace(problem, dataset=replace(problem.dataset, **splits))


def as_tensor(array: np.ndarray) -> torch.Tensor:
    """A tensor over an array's memory, which may be read-only: it must not be written to."""
    _know_read_only()
    return torch.from_numpy(array)


@cache
def _know_read_only() -> None:
    """Takes the one warning that torch gives in a process of an array that is read-only."""
    array = np.zeros(1)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        torch.from_numpy(array)
