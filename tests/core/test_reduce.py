from itertools import pairwise

import numpy as np
import pytest
import torch

from raydl.core import tree
from raydl.core.algorithm import Update
from raydl.core.reduce import grouped, mean

REDUCE = mean()
SAMPLES = (1, 20, 3, 600, 45, 7)


@pytest.fixture
def updates():
    draws = torch.Generator().manual_seed(0)
    return [
        Update(
            {"a": {"w": torch.randn(3, 2, generator=draws)}, "b": torch.randn((), generator=draws)},
            n,
            client,
        )
        for client, n in enumerate(SAMPLES)
    ]


def fold(updates):
    accumulator = REDUCE.zero()
    for update in updates:
        accumulator = REDUCE.add(accumulator, update)
    return accumulator


def merged(blocks):
    accumulator = REDUCE.zero()
    for block in blocks:
        accumulator = REDUCE.merge(accumulator, fold(block))
    return REDUCE.result(accumulator)


def test_closed_form(updates):
    result = REDUCE.result(fold(updates))
    for name, leaf in tree.leaves(result):
        messages = np.stack([dict(tree.leaves(u.message))[name].double().numpy() for u in updates])
        expected = np.average(messages, axis=0, weights=SAMPLES)
        np.testing.assert_allclose(leaf.numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_message_may_be_a_tensor_alone(shape):
    """Also one whose sum is zero so far, which is not the same as none."""
    updates = [Update(torch.full(shape, value), 1, at) for at, value in enumerate((0.0, 1.0, 2.0))]
    torch.testing.assert_close(REDUCE.result(fold(updates)), torch.ones(shape))
    torch.testing.assert_close(merged([updates[:1], updates[1:]]), torch.ones(shape))


def test_what_a_message_does_not_name_is_zero_in_it():
    updates = [Update({"a": torch.ones(2)}, 1, 0), Update({"b": torch.ones(1)}, 3, 1)]
    expected = {"a": torch.full((2,), 0.25), "b": torch.full((1,), 0.75)}
    torch.testing.assert_close(REDUCE.result(fold(updates)), expected)
    torch.testing.assert_close(merged([updates[:1], updates[1:]]), expected)
    assert torch.equal(updates[0].message["a"], torch.ones(2))


def test_half_precision_is_added_up_in_float32():
    """Of bfloat16, 256 + 1 is 256."""
    updates = [Update(torch.ones(1).bfloat16(), 1, at) for at in range(1000)]
    assert float(REDUCE.result(fold(updates))) == pytest.approx(1.0)
    stacked = REDUCE.stacked(torch.ones(1000, 1).bfloat16(), torch.ones(1000))
    assert float(REDUCE.result(stacked)) == pytest.approx(1.0)


@pytest.mark.parametrize("cuts", [(1, 2, 3, 4, 5), (3,), (0, 6), (2, 2, 4)])
def test_any_cut_into_blocks_and_any_order_of_them_agree(updates, cuts):
    edges = [0, *cuts, len(updates)]
    blocks = [updates[start:stop] for start, stop in pairwise(edges)]
    whole = REDUCE.result(fold(updates))
    for order in (blocks, blocks[::-1]):
        torch.testing.assert_close(merged(order), whole)


def test_of_one_update_is_its_message(updates):
    torch.testing.assert_close(merged([updates[:1]]), updates[0].message, rtol=0, atol=0)


def test_of_no_updates_is_empty():
    assert merged([[], []]) == {}


def test_second_arguments_are_neither_written_to_nor_kept(updates):
    messages = [tree.map(torch.clone, update.message) for update in updates]
    other = fold(updates[3:])
    before = tree.map(torch.clone, other)
    accumulator = REDUCE.merge(REDUCE.zero(), other)
    for update in updates[:3]:
        accumulator = REDUCE.add(accumulator, update)
    REDUCE.merge(fold(updates[:3]), other)
    torch.testing.assert_close(other, before, rtol=0, atol=0)
    for update, message in zip(updates, messages, strict=True):
        torch.testing.assert_close(update.message, message, rtol=0, atol=0)


def test_groups_are_reduced_each_for_itself(updates):
    reduce = grouped(REDUCE, lambda client: client % 2, groups=3)
    accumulator = reduce.zero()
    for update in updates[:3]:
        accumulator = reduce.add(accumulator, update)
    other = reduce.zero()
    for update in updates[3:]:
        other = reduce.add(other, update)
    given = reduce.result(reduce.merge(accumulator, other))
    assert given.pop("2") == {}
    expected = {str(group): REDUCE.result(fold(updates[group::2])) for group in (0, 1)}
    torch.testing.assert_close(given, expected)
