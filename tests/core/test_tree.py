import hashlib
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl.core import tree
from tests.trees import assert_equal, reordered, trees


def mixed():
    return {
        "weights": {
            "b": torch.randn(3, 5),
            "a": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        },
        "half": torch.randn(7).bfloat16(),
        "double": torch.randn(2).double(),
        "count": torch.tensor(7),
        "flags": torch.tensor([True, False, True]),
        "empty": torch.zeros(0, 4),
        "nothing": {},
        "inner": {"nothing": {}},
    }


@given(trees())
def test_whatever_is_in_a_tree_it_comes_back(value):
    for again in (
        tree.from_leaves(dict(tree.leaves(value))),
        tree.unpack(tree.pack(value)),
        tree.map(torch.clone, value),
    ):
        assert_equal(again, value)
        assert type(again) is type(value)
        assert tree.layout(again) == tree.layout(value)


@given(trees())
def test_a_packed_tree_is_one_buffer_in_which_each_leaf_is_aligned(value):
    packed = tree.pack(value)
    assert packed.buffer.dtype == torch.uint8
    assert sum(leaf.size for leaf in packed.layout) == tree.nbytes(value)
    ends = [leaf.offset + leaf.size for leaf in packed.layout]
    for leaf, before in zip(packed.layout, [0, *ends], strict=False):
        assert leaf.offset % 64 == 0
        assert before <= leaf.offset <= before + 63


@given(trees())
def test_a_fingerprint_is_of_the_numbers_not_of_how_they_lie(value):
    fingerprint = tree.fingerprint(value)
    assert tree.fingerprint(reordered(value)) == fingerprint
    assert tree.fingerprint(tree.unpack(tree.pack(value))) == fingerprint
    leaves = dict(tree.leaves(value))
    for path, leaf in leaves.items():
        if leaf.numel():
            other = ~leaf if leaf.dtype == torch.bool else leaf + 1
            changed = tree.from_leaves(leaves | {path: other})
            assert tree.fingerprint(changed) != fingerprint


SUMMANDS = st.dictionaries(
    st.sampled_from("abc"),
    st.dictionaries(
        st.sampled_from("wv"), st.integers(-9, 9).map(lambda n: torch.full((2,), float(n)))
    ),
)


@given(SUMMANDS, st.sampled_from([-2.0, 0.5, 3.0]), SUMMANDS)
def test_what_is_added_counts_as_zero_where_it_is_not_named(y, alpha, x):
    def of(value, name, inner):
        return value.get(name, {}).get(inner, torch.zeros(2))

    before, added = tree.map(torch.clone, y), tree.map(torch.clone, x)
    total = tree.axpy_(y, alpha, x)
    assert total is y
    assert_equal(x, added)
    for name in before.keys() | x.keys():
        for inner in before.get(name, {}).keys() | x.get(name, {}).keys():
            expected = of(before, name, inner) + alpha * of(x, name, inner)
            assert torch.equal(total[name][inner], expected)
    for _, leaf in tree.leaves(total):
        assert all(
            leaf.data_ptr() != other.data_ptr() or not len(leaf) for _, other in tree.leaves(x)
        )


def test_unpacked_leaves_are_views_of_the_buffer():
    packed = tree.pack({"a": torch.ones(3), "b": torch.ones(2, 2)})
    unpacked = tree.unpack(packed)
    packed.buffer.zero_()
    assert unpacked["a"].sum() == unpacked["b"].sum() == 0


def test_packing_copies():
    leaf = torch.ones(3)
    packed = tree.pack({"a": leaf})
    leaf.zero_()
    assert tree.unpack(packed)["a"].sum() == 3


def test_what_is_drawn_for_a_tree_does_not_depend_on_its_order():
    def drawn(value):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return tree.map(torch.rand_like, value)

    value = {"b": torch.zeros(2), "a": {"d": torch.zeros(3), "c": torch.zeros(1)}}
    assert_equal(drawn(value), drawn({"a": dict(reversed(value["a"].items())), "b": value["b"]}))


def test_leaves_are_sorted_at_every_level():
    one = torch.zeros(1)
    value = {"b": one, "a": {"d": one, "c": one}, "a.b": one}
    assert [path for path, _ in tree.leaves(value)] == ["a/c", "a/d", "a.b", "b"]


def test_fingerprint_is_sha256_of_little_endian_numbers_in_name_order():
    value = {
        "b": torch.tensor([[1.0, -2.5]]),
        "a": torch.tensor([3, 4]),
        "c": {"y": torch.tensor(0.1, dtype=torch.float64), "x": torch.tensor([0.5]).bfloat16()},
        "d": torch.tensor([1 + 2j]),
        "e": torch.tensor(True),
    }
    content = struct.pack("<2q3fd2fq", 3, 4, 1.0, -2.5, 0.5, 0.1, 1.0, 2.0, 1)
    expected = hashlib.sha256(content).hexdigest()
    assert tree.fingerprint(value) == expected
    assert tree.fingerprint(dict(reversed(value.items()))) == expected


@pytest.mark.parametrize(
    ("leaf", "finite"),
    [
        (torch.zeros(3), True),
        (torch.tensor([0.0, float("nan")]), False),
        (torch.tensor([float("inf"), float("-inf")]), False),
        (torch.full((4,), 3e38), True),  # whose sum is infinite
        (torch.full((4,), 3e38).bfloat16(), True),
        (torch.tensor([3e38, 3e38, float("nan")]), False),
        (torch.tensor([2**62, 2**62]), True),
        (torch.zeros(0), True),
        (torch.tensor([1 + 1j]), True),
        (torch.tensor([complex(0, float("nan"))]), False),
        (torch.tensor([1.0, 448.0]).to(torch.float8_e4m3fn), True),
        (torch.tensor([1.0, float("nan")]).to(torch.float8_e4m3fn), False),
        (torch.tensor([True]), True),
    ],
)
def test_is_finite(leaf, finite):
    assert bool(tree.is_finite({"other": torch.ones(2), "leaf": leaf})) is finite
    assert bool(tree.is_finite({"leaf": leaf})) is finite
    stacked = {"leaf": torch.stack([torch.ones_like(leaf), leaf])}
    assert tree.are_finite(stacked, 2).tolist() == [True, finite]


def test_arithmetic_against_torch():
    x, y = torch.randn(4), torch.randn(4)
    a, b = {"n": {"x": x}}, {"n": {"x": y}}
    assert_equal(tree.add(a, b), {"n": {"x": x + y}})
    assert_equal(tree.sub(a, b), {"n": {"x": x - y}})
    assert_equal(tree.scale(a, 3.0), {"n": {"x": x * 3.0}})
    assert_equal(tree.zeros_like(a), {"n": {"x": torch.zeros(4)}})
    expected = x + 0.5 * y
    assert tree.axpy_(a, 0.5, b)["n"]["x"] is x
    torch.testing.assert_close(x, expected)


def test_nbytes_counts_every_leaf():
    assert tree.nbytes(mixed()) == 15 * 4 + 96 * 4 + 7 * 2 + 2 * 8 + 8 + 3


def test_trees_of_different_names_do_not_add():
    with pytest.raises(KeyError):
        tree.add({"a": torch.ones(1)}, {"b": torch.ones(1)})
