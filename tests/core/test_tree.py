import hashlib
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl.core import tree


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


def assert_same(a, b):
    a, b = dict(tree.leaves(a)), dict(tree.leaves(b))
    assert list(a) == list(b)
    for path, leaf in a.items():
        assert leaf.dtype == b[path].dtype, path
        assert torch.equal(leaf, b[path]), path


def test_pack_and_unpack_are_inverse():
    packed = tree.pack(mixed_tree := mixed())
    assert_same(tree.unpack(packed), mixed_tree)
    assert packed.buffer.dtype == torch.uint8
    assert all(leaf.offset % 64 == 0 for leaf in packed.layout)


@pytest.mark.parametrize("value", [{}, torch.randn(3), torch.tensor(2.0), {"a": {"b": {}}}])
def test_pack_and_unpack_small_trees(value):
    unpacked = tree.unpack(tree.pack(value))
    assert_same(unpacked, value)
    assert type(unpacked) is type(value)


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


def test_leaves_go_through_from_leaves():
    value = mixed()
    again = tree.from_leaves(dict(tree.leaves(value)))
    assert_same(again, value)
    assert again["nothing"] == again["inner"]["nothing"] == {}


NAMES = st.text(st.sampled_from("a/~.01 ü"), max_size=4)
TREES = st.recursive(
    st.just(torch.ones(1)), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)


@given(TREES)
def test_whatever_its_names_a_tree_comes_back(value):
    assert_same(tree.from_leaves(dict(tree.leaves(value))), value)
    if isinstance(value, dict):
        assert_same(tree.unpack(tree.pack(value)), value)


def test_what_is_drawn_for_a_tree_does_not_depend_on_its_order():
    def drawn(value):
        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            return tree.map(torch.rand_like, value)

    value = {"b": torch.zeros(2), "a": {"d": torch.zeros(3), "c": torch.zeros(1)}}
    assert_same(drawn(value), drawn({"a": dict(reversed(value["a"].items())), "b": value["b"]}))


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


def test_fingerprint_ignores_memory_layout():
    plain = torch.randn(2, 3, 4, 4)
    assert tree.fingerprint({"w": plain}) == tree.fingerprint(
        {"w": plain.to(memory_format=torch.channels_last)}
    )


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
    assert_same(tree.add(a, b), {"n": {"x": x + y}})
    assert_same(tree.sub(a, b), {"n": {"x": x - y}})
    assert_same(tree.scale(a, 3.0), {"n": {"x": x * 3.0}})
    assert_same(tree.zeros_like(a), {"n": {"x": torch.zeros(4)}})
    expected = x + 0.5 * y
    assert tree.axpy_(a, 0.5, b)["n"]["x"] is x
    torch.testing.assert_close(x, expected)


def test_nbytes_counts_every_leaf():
    assert tree.nbytes(mixed()) == 15 * 4 + 96 * 4 + 7 * 2 + 2 * 8 + 8 + 3


def test_trees_of_different_names_do_not_add():
    with pytest.raises(KeyError):
        tree.add({"a": torch.ones(1)}, {"b": torch.ones(1)})
