"""What processes share through Ray: one copy of the data for all of a node, and trees on the way.

Ray moves the memory of arrays as it is, and looks into all else that it is given. So trees travel
as arrays, and what is small as bytes.
"""

import pickle
import warnings
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import ray
import torch

from raydl.core import tree
from raydl.core.tree import Packed, PackedLeaf, Tree

SMALL = 64 << 10  # bytes; the object store costs a round trip to the raylet, about 1.5 ms


class Wire(NamedTuple):
    """A tree as it travels without being packed: an array of bytes for each leaf."""

    layout: tuple[PackedLeaf, ...]
    arrays: list[np.ndarray]

    @property
    def nbytes(self) -> int:
        """The bytes of the leaves."""
        return sum(array.nbytes for array in self.arrays)


def to_wire(value: Tree) -> Wire:
    """A tree on the wire, which shares its memory with it wherever that lies as it reads."""
    layout, arrays = [], []
    for path, leaf in tree.leaves(value):
        array = tree.as_bytes(leaf).numpy()
        layout.append(PackedLeaf(path, leaf.dtype, tuple(leaf.shape), 0, array.nbytes))
        arrays.append(array)
    return Wire(tuple(layout), arrays)


def from_wire(wire: Wire) -> Tree:
    """A tree that was on the wire; its leaves lie in Ray's memory and must not be written to."""
    return tree.from_leaves(
        {
            leaf.path: leaf.of(as_tensor(array))
            for leaf, array in zip(wire.layout, wire.arrays, strict=True)
        }
    )


class PackedWire(NamedTuple):
    """A tree as it travels in one piece: its packed buffer, uint8 [bytes], as an array."""

    buffer: np.ndarray
    layout: tuple[PackedLeaf, ...]


def to_packed(value: Tree) -> PackedWire:
    """A tree with its one buffer as an array."""
    buffer, layout = tree.pack(value)
    return PackedWire(buffer.numpy(), layout)


def from_packed(wire: PackedWire) -> Tree:
    """A tree that was packed; its leaves lie in Ray's memory and must not be written to."""
    return tree.unpack(Packed(as_tensor(wire.buffer), wire.layout))


def inline_if_small(value: Any, size: int) -> Any:
    """A value of so many bytes, if they are few as bytes, which Ray sends as they are."""
    return pickle.dumps(value) if size <= SMALL else value


class InStore(NamedTuple):
    """A value that lies in the object store once, for whoever is sent this."""

    reference: ray.ObjectRef[Any]


def put_if_large(value: Any, size: int) -> Any:
    """A value of so many bytes, to be sent to several: copied once, unless it is small."""
    return pickle.dumps(value) if size <= SMALL else InStore(ray.put(value))


def fetch(value: Any) -> Any:
    """What `inline_if_small` or `put_if_large` made ready."""
    if isinstance(value, InStore):
        return ray.get(value.reference)
    return pickle.loads(value) if isinstance(value, bytes) else value


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
