"""Trees of tensors.

A tree is a tensor or a dictionary from names to trees; ``{}`` is the empty tree. Parameters,
messages and states are trees, so a checkpoint needs no pickling: its names are joined by ``/``.
Order never matters: wherever leaves stand in a row, they stand sorted by name.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

# A tensor, or a dictionary from names to trees. (mypy cannot follow a recursive union through the
# invariance of dictionaries, so the alias is loose where Python's own typing is.)
Tree: TypeAlias = Any
Params: TypeAlias = dict[str, Tensor]


def map(function: Callable[..., Tensor], tree: Tree, *others: Tree) -> Tree:  # noqa: A001
    """Applies ``function`` to each leaf of ``tree`` and the leaves at the same place in ``others``.

    Args:
        function: from one tensor of each tree to a tensor.
        tree: gives the structure of the result.
        others: trees that have all of ``tree``'s names.
    """
    if isinstance(tree, dict):
        return {
            name: map(function, child, *(other[name] for other in others))
            for name, child in tree.items()
        }
    return function(tree, *others)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yields (path, tensor) sorted by name at every level; a path's names are joined by ``/``.

    An empty tree inside of another yields its path with a ``/`` behind it, and a tensor of nothing,
    so that `from_leaves` finds it again.
    """
    if isinstance(tree, dict):
        if prefix and not tree:
            yield f"{prefix}/", torch.empty(0, dtype=torch.uint8)
        for name in sorted(tree):
            yield from leaves(tree[name], f"{prefix}/{name}" if prefix else name)
    else:
        yield prefix, tree


def from_leaves(leaves: Mapping[str, Tensor]) -> Tree:
    """The tree whose ``leaves`` these are; the inverse of ``dict(leaves(tree))``."""
    tree: dict[str, Any] = {}
    for path, tensor in leaves.items():
        if not path:
            return tensor
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        if name:
            node[name] = tensor
    return tree


def add(a: Tree, b: Tree) -> Tree:
    """The sum a + b, leaf by leaf."""
    return map(torch.add, a, b)


def sub(a: Tree, b: Tree) -> Tree:
    """The difference a − b, leaf by leaf."""
    return map(torch.sub, a, b)


def scale(tree: Tree, factor: float | Tensor) -> Tree:
    """Factor · tree."""
    return map(lambda leaf: leaf * factor, tree)


def axpy_(y: Tree, alpha: float, x: Tree) -> Tree:
    """Y + alpha · x, written into ``y``'s own tensors, which the caller must own."""
    return map(lambda leaf, other: leaf.add_(other, alpha=alpha), y, x)


def zeros_like(tree: Tree) -> Tree:
    """Zeros of the same structure, shapes and types."""
    return map(torch.zeros_like, tree)


def nbytes(tree: Tree) -> int:
    """The bytes that the leaves take: what a message of this tree weighs."""
    return sum(leaf.numel() * leaf.element_size() for _, leaf in leaves(tree))


def is_finite(tree: Tree) -> Tensor:
    """True (a boolean tensor []) if no leaf holds a NaN or an infinity."""
    flags = [leaf.sum().isfinite() for _, leaf in leaves(tree) if leaf.is_floating_point()]
    if not flags:
        return torch.tensor(True)
    finite = torch.stack(flags).all()
    if not finite:  # a sum of large finite numbers can overflow: look at each element
        finite = torch.stack(
            [leaf.isfinite().all() for _, leaf in leaves(tree) if leaf.is_floating_point()]
        ).all()
    return finite


def fingerprint(tree: Tree) -> str:
    """The sha256 of the leaves in name order, each flattened as little-endian float32."""
    digest = hashlib.sha256()
    for _, leaf in leaves(tree):
        digest.update(leaf.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes())
    return digest.hexdigest()


class Leaf(NamedTuple):
    """Where one leaf of a packed tree lies: bytes [offset, offset + size)."""

    path: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    size: int


class Packed(NamedTuple):
    """A tree in one piece of memory, as it travels."""

    buffer: Tensor  # uint8 [bytes]
    layout: tuple[Leaf, ...]


_ALIGNMENT = 64  # bytes: one cache line, and enough for every dtype


def pack(tree: Tree) -> Packed:
    """Copies a tree into one buffer on the CPU."""
    layout, offset = [], 0
    for path, leaf in leaves(tree):
        size = leaf.numel() * leaf.element_size()
        layout.append(Leaf(path, leaf.dtype, tuple(leaf.shape), offset, size))
        offset += -(-size // _ALIGNMENT) * _ALIGNMENT
    packed = Packed(torch.empty(offset, dtype=torch.uint8), tuple(layout))
    for view, (_, leaf) in zip(_views(packed), leaves(tree), strict=True):
        view.copy_(leaf)
    return packed


def unpack(packed: Packed) -> Tree:
    """The packed tree; its leaves are views of the buffer."""
    paths = (leaf.path for leaf in packed.layout)
    return from_leaves(dict(zip(paths, _views(packed), strict=True)))


def _views(packed: Packed) -> Iterator[Tensor]:
    for leaf in packed.layout:
        stretch = packed.buffer[leaf.offset : leaf.offset + leaf.size]
        yield stretch.view(leaf.dtype).view(leaf.shape)
