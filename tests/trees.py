"""Trees and parameters for hypothesis to draw, and how two of them are compared."""

import torch
from hypothesis import strategies as st
from torch import Tensor

from raydl.core import tree
from raydl.core.tree import Tree

FLOATS = [torch.float32, torch.float64, torch.bfloat16]
DTYPES = [*FLOATS, torch.int64, torch.uint8, torch.bool, torch.complex64]
NAMES = st.text(st.sampled_from("a/~.01 ü"), max_size=4)


@st.composite
def tensors(draw: st.DrawFn, dtypes: list[torch.dtype] = DTYPES) -> Tensor:
    """Of any type, also of no dimensions or no entries, and not always contiguous."""
    dtype, shape = draw(st.sampled_from(dtypes)), draw(st.lists(st.integers(0, 3), max_size=3))
    draws = torch.Generator().manual_seed(draw(st.integers(0, 9)))
    if dtype.is_floating_point or dtype.is_complex:
        leaf = torch.randn(shape, generator=draws, dtype=dtype)
    else:
        leaf = torch.randint(256, shape, generator=draws).to(dtype)
    if draw(st.booleans()):
        leaf = leaf.movedim(0, -1)[..., ::2] if leaf.dim() else leaf
        leaf = leaf.conj()  # of a complex number, which torch does when it has to
    return leaf


def trees(leaves: st.SearchStrategy[Tensor] | None = None) -> st.SearchStrategy[Tree]:
    """A tensor alone, or dictionaries in dictionaries, also empty ones, of odd names."""
    leaves = tensors() if leaves is None else leaves
    return st.recursive(
        leaves, lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
    )


def reordered(value: Tree) -> Tree:
    """The same tree, put together in another order."""
    if not isinstance(value, dict):
        return value
    return {name: reordered(value[name]) for name in reversed(value)}


def assert_equal(given: Tree, expected: Tree) -> None:
    """Bit for bit, in structure and types."""
    ours, theirs = dict(tree.leaves(given)), dict(tree.leaves(expected))
    assert ours.keys() == theirs.keys()
    for path, leaf in ours.items():
        torch.testing.assert_close(
            leaf,
            theirs[path],
            rtol=0,
            atol=0,
            equal_nan=True,
            msg=lambda told, at=path: f"{at}: {told}",
        )
