"""Trees on the wire and back, as far as that needs no cluster."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl.core import tree
from raydl.runtimes.ray_cluster.transport import (
    SMALL,
    fetch,
    from_packed,
    from_wire,
    inline_if_small,
    to_packed,
    to_wire,
)
from tests.trees import assert_equal, trees


def read_only(array: np.ndarray) -> np.ndarray:
    """As Ray gives an array back."""
    array.flags.writeable = False
    return array


@given(trees())
def test_a_tree_comes_back_from_the_wire(value):
    wire = to_wire(value)
    assert wire.nbytes == tree.nbytes(value)
    again = from_wire(wire._replace(arrays=[read_only(each) for each in wire.arrays]))
    assert_equal(again, value)
    assert tree.layout(again) == tree.layout(value)


@given(trees())
def test_a_packed_tree_comes_back(value):
    wire = to_packed(value)
    again = from_packed(wire._replace(buffer=read_only(wire.buffer)))
    assert_equal(again, value)
    assert tree.layout(again) == tree.layout(value)


@given(trees(), st.sampled_from([0, SMALL, SMALL + 1]))
def test_what_is_small_travels_as_bytes(value, size):
    sent = inline_if_small(to_wire(value), size)
    assert isinstance(sent, bytes) == (size <= SMALL)
    assert_equal(from_wire(fetch(sent)), value)


def test_what_is_on_the_wire_shares_its_memory():
    leaf = torch.ones(3)
    wire = to_wire({"a": leaf})
    leaf.zero_()
    assert not from_wire(wire)["a"].any()


def test_what_torch_negates_only_when_it_has_to_travels_as_it_reads():
    leaf = torch.tensor([1 + 2j]).conj().imag
    assert leaf.is_neg()
    assert from_wire(to_wire(leaf)).tolist() == [-2.0]
