"""What processes share through Ray: one copy of the data for all of a node, and trees on the way.

Ray moves the memory of arrays as it is, and looks into all else that it is given. So trees travel
as arrays, and what is small as bytes.
"""

import pickle
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from ray import cloudpickle
from torch import nn

from raydl.core import tree
from raydl.core.grad import parameters
from raydl.core.module import Complete, complete, has_hooks, restore
from raydl.core.tree import Leaf, Packed, Tree
from raydl.data.dataset import Dataset, Split
from raydl.runtimes.problem import Problem

SMALL = 64 << 10  # bytes; the object store costs a round trip to the raylet, about 1.5 ms

_PARTS = ("train", "validation", "test")


class Wire(NamedTuple):
    """A tree as it travels without being packed: an array of bytes for each leaf."""

    layout: tuple[Leaf, ...]
    arrays: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        """The bytes of the leaves."""
        return sum(array.nbytes for array in self.arrays)


def wired(value: Tree) -> Wire:
    """A tree on the wire, which shares its memory with it."""
    layout, arrays = [], []
    for path, leaf in tree.leaves(value):
        array = leaf.detach().reshape(-1).view(torch.uint8).numpy()
        layout.append(Leaf(path, leaf.dtype, tuple(leaf.shape), 0, array.nbytes))
        arrays.append(array)
    return Wire(tuple(layout), arrays)


def received(wire: Wire) -> Tree:
    """A tree that was on the wire; its leaves lie in Ray's memory and must not be written to."""
    return tree.from_leaves(
        {
            leaf.path: as_tensor(array).view(leaf.dtype).view(leaf.shape)
            for leaf, array in zip(wire.layout, wire.arrays, strict=True)
        }
    )


def packed(value: Tree) -> Packed:
    """A tree with its one buffer as an array."""
    buffer, layout = tree.pack(value)
    return Packed(buffer.numpy(), layout)


def unpacked(wire: Packed) -> Tree:
    """A tree that was packed; its leaves lie in Ray's memory and must not be written to."""
    return tree.unpack(Packed(as_tensor(wire.buffer), wire.layout))


def travelling(value: Any, size: int) -> Any:
    """A value of so many bytes, if they are few as bytes, which Ray sends as they are."""
    return pickle.dumps(value) if size <= SMALL else value


class Posted(NamedTuple):
    """A value that lies in the object store once, for whoever is sent this."""

    reference: ray.ObjectRef


def posted(value: Any, size: int) -> Any:
    """A value of so many bytes, to be sent to several: copied once, unless it is small."""
    return pickle.dumps(value) if size <= SMALL else Posted(ray.put(value))


def arrived(value: Any) -> Any:
    """What `travelling` or `posted` made ready."""
    if isinstance(value, Posted):
        return ray.get(value.reference)
    return pickle.loads(value) if isinstance(value, bytes) else value


@dataclass(frozen=True, eq=False, kw_only=True)
class Stored(Dataset):
    """A data set whose samples lie in Ray's object store too, once for all who use it.

    Args:
        arrays: reference to them, for `filled`.
    """

    arrays: ray.ObjectRef


def stored(dataset: Dataset) -> Stored:
    """The data set, with its samples put into the object store unless they are there."""
    if isinstance(dataset, Stored):
        return dataset
    arrays = {
        f"{part}.{name}": tensor.numpy()
        for part in _PARTS
        for name, tensor in getattr(dataset, part)._asdict().items()
    }
    return Stored(**vars(dataset), arrays=ray.put(arrays))


def emptied(dataset: Stored) -> Stored:
    """The data set without its samples, which is little to send."""
    return replace(dataset, **{part: getattr(dataset, part).none() for part in _PARTS})


def filled(dataset: Dataset, arrays: dict[str, np.ndarray]) -> Dataset:
    """The data set with the samples that `emptied` took out; they lie in Ray's memory."""
    splits = {
        part: Split(**{name: as_tensor(arrays[f"{part}.{name}"]) for name in Split._fields})
        for part in _PARTS
    }
    return replace(dataset, **splits)


def share(problem: Problem) -> tuple[ray.ObjectRef, ray.ObjectRef]:
    """References to a problem without its samples, and to the samples: for `attached`."""
    dataset = stored(problem.dataset)
    without = replace(problem, dataset=replace(emptied(dataset), owners=None))
    if problem.make is None:
        return ray.put(without), dataset.arrays
    if not has_hooks(problem.task.model):
        try:
            return ray.put(without), dataset.arrays
        except Exception:  # whatever the user's module says of being pickled
            if _can_be_pickled(without.task.model):
                raise
    model = problem.task.model
    remade = Remade(problem.make, complete(model, parameters(model)))
    task = problem.task._replace(model=remade)  # type: ignore[arg-type]
    return ray.put(replace(without, task=task)), dataset.arrays


class Remade(NamedTuple):
    """A module on its way to where it is made anew, since it cannot be pickled whole."""

    make: Callable[[], nn.Module]
    tensors: Complete


def attached(problem: Problem, arrays: dict[str, np.ndarray]) -> Problem:
    """The problem with its samples, see `filled`, and its module."""
    task = problem.task
    if isinstance(task.model, Remade):
        model = task.model.make()
        restore(model, task.model.tensors)
        task = task._replace(model=model)
    return replace(problem, dataset=filled(problem.dataset, arrays), task=task)


def _can_be_pickled(model: nn.Module) -> bool:
    try:
        cloudpickle.dumps(model)
    except Exception:
        return False
    return True


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
