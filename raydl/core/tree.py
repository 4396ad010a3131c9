"""Trees of tensors.

A tree is a tensor or a dictionary from names to trees; ``{}`` is the empty tree. Parameters,
messages and states are trees, so a checkpoint needs no pickling: its names are joined by ``/``, and
escaped as JSON pointers are (RFC 6901) where they hold one. Order never matters: wherever leaves
stand in a row, or are gone through one after another, that is by name; so what is drawn for them
does not depend on whether a tree was just made, or came from a wire or a checkpoint.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from operator import itemgetter
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
            name: map(function, tree[name], *(other[name] for other in others))
            for name in sorted(tree)
        }
    return function(tree, *others)


def leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yields (path, tensor) sorted by name at every level; a path's names are joined by ``/``.

    In a name itself ``/`` is written ``~1``, ``~`` is ``~0``, and no name at all ``~2``. An empty
    tree inside of another yields its path with a ``/`` behind it, and a tensor of nothing, so that
    `from_leaves` finds it again.
    """
    if isinstance(tree, dict):
        if prefix and not tree:
            yield f"{prefix}/", torch.empty(0, dtype=torch.uint8)
        for name in sorted(tree):
            own = _escape(name)
            yield from leaves(tree[name], f"{prefix}/{own}" if prefix else own)
    else:
        yield prefix, tree


def from_leaves(leaves: Mapping[str, Tensor]) -> Tree:
    """The tree whose ``leaves`` these are; the inverse of ``dict(leaves(tree))``."""
    tree: dict[str, Any] = {}
    for path, tensor in sorted(leaves.items(), key=itemgetter(0)):
        if not path:
            return tensor
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(unescape(parent), {})
        if name:
            node[unescape(name)] = tensor
    return tree


def _escape(name: str) -> str:
    return str(name).replace("~", "~0").replace("/", "~1") or "~2"


def unescape(name: str) -> str:
    """The name that stands so in a path."""
    return "" if name == "~2" else name.replace("~1", "/").replace("~0", "~")


def is_empty(tree: Tree) -> bool:
    """Whether there is nothing in the tree; a tensor is something, also 0 and one of no entries."""
    return isinstance(tree, dict) and not tree


def layout(tree: Tree) -> dict[str, tuple[tuple[int, ...], torch.dtype]]:
    """The shape and type of each leaf, by path: what two trees of one structure have in common."""
    return {path: (tuple(leaf.shape), leaf.dtype) for path, leaf in leaves(tree)}


def as_bytes(leaf: Tensor) -> Tensor:
    """A leaf's numbers in their order, uint8 [bytes]: a view wherever they lie so in CPU memory."""
    plain = leaf.detach().cpu().resolve_conj().resolve_neg().contiguous()
    flat = plain.as_strided((plain.numel(),), (1,))  # a single number may have another stride
    return flat.view(torch.uint8)


def add(a: Tree, b: Tree) -> Tree:
    """The sum a + b, leaf by leaf, in the types of ``a``."""
    return map(lambda leaf, other: torch.add(leaf, other).to(leaf.dtype), a, b)


def sub(a: Tree, b: Tree) -> Tree:
    """The difference a − b, leaf by leaf."""
    return map(torch.sub, a, b)


def scale(tree: Tree, factor: float | Tensor) -> Tree:
    """Factor · tree."""
    return map(lambda leaf: leaf * factor, tree)


def axpy_(y: Tree, alpha: float, x: Tree) -> Tree:
    """Y + alpha · x, written into ``y``'s own tensors and dictionaries, which the caller must own.

    What ``y`` does not name is zero: it takes it up.
    """
    if not isinstance(x, dict):
        return y.add_(x, alpha=alpha)
    for name, child in x.items():
        y[name] = axpy_(y[name], alpha, child) if name in y else scale(child, alpha)
    return y


def like(tree: Tree, other: Tree) -> Tree:
    """The tree in the types of the leaves at the same place in ``other``."""
    return map(lambda leaf, model: leaf.to(model.dtype), tree, other)


def zeros_like(tree: Tree) -> Tree:
    """Zeros of the same structure, shapes and types."""
    return map(torch.zeros_like, tree)


def nbytes(tree: Tree) -> int:
    """The bytes that the leaves take: what a message of this tree weighs."""
    return sum(leaf.numel() * leaf.element_size() for _, leaf in leaves(tree))


def is_finite(tree: Tree) -> Tensor:
    """True (a boolean tensor []) if no leaf, of whatever type, holds a NaN or an infinity."""
    values = [_countable(leaf) for _, leaf in leaves(tree) if _may_overflow(leaf)]
    if not values:
        return torch.tensor(True)
    finite = torch.stack([each.sum().isfinite() for each in values]).all()
    if not finite:  # a sum of large finite numbers can overflow: look at each element
        finite = torch.stack([each.isfinite().all() for each in values]).all()
    return finite


def are_finite(stacked: Tree, rows: int) -> Tensor:
    """Which rows hold no NaN and no infinity, bool [rows], of leaves [rows, ...]."""
    finite = torch.ones(rows, dtype=torch.bool)
    for _, leaf in leaves(stacked):
        if _may_overflow(leaf):
            values = _countable(leaf).reshape(rows, -1)
            sums = values.sum(1).isfinite()
            finite &= (sums if sums.all() else values.isfinite().all(1)).cpu()
    return finite


def _may_overflow(leaf: Tensor) -> bool:
    return leaf.is_floating_point() or leaf.is_complex()


def _countable(leaf: Tensor) -> Tensor:
    """The leaf in a type that can be added up, which floats of 8 bits cannot."""
    return leaf.float() if leaf.itemsize == 1 else leaf


def fingerprint(tree: Tree) -> str:
    """The sha256 of the leaves in name order, each flattened, in little-endian numbers.

    Floats of 32 bits or fewer are hashed as float32, wider ones as float64, integers and booleans
    as int64; of a complex number the real part comes first, then the imaginary one.
    """
    digest = hashlib.sha256()
    for _, leaf in leaves(tree):
        values = torch.view_as_real(leaf.resolve_conj()) if leaf.is_complex() else leaf
        wide, kind = torch.int64, "<i8"
        if values.is_floating_point():
            wide, kind = (torch.float64, "<f8") if values.itemsize > 4 else (torch.float32, "<f4")
        values = values.detach().to(wide).cpu().contiguous()
        digest.update(values.numpy().astype(kind, copy=False).tobytes())
    return digest.hexdigest()


class PackedLeaf(NamedTuple):
    """Where one leaf of a packed tree lies: bytes [offset, offset + size)."""

    path: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    offset: int
    size: int

    def of(self, content: Tensor) -> Tensor:
        """The leaf of which this is the content, uint8 [size], as a view of it."""
        if not self.size:  # NumPy gives empty arrays a stride that torch makes no view of
            return torch.empty(self.shape, dtype=self.dtype)
        return content.view(self.dtype).view(self.shape)


class Packed(NamedTuple):
    """A tree in one piece of memory, as it travels."""

    buffer: Tensor  # uint8 [bytes]
    layout: tuple[PackedLeaf, ...]


_ALIGNMENT = 64  # bytes: one cache line, and enough for every dtype


def pack(tree: Tree) -> Packed:
    """Copies a tree into one buffer on the CPU."""
    layout, offset = [], 0
    for path, leaf in leaves(tree):
        size = leaf.numel() * leaf.element_size()
        layout.append(PackedLeaf(path, leaf.dtype, tuple(leaf.shape), offset, size))
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
        yield leaf.of(packed.buffer[leaf.offset : leaf.offset + leaf.size])
