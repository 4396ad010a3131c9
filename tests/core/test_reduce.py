from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl.core import tree
from raydl.core.algorithm import Update
from raydl.core.errors import SpecError
from raydl.core.reduce import grouped, mean, parts, scatter, sole, stack, total
from tests.trees import assert_equal

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


def fold(updates, reduce=REDUCE):
    accumulator = reduce.zero()
    for update in updates:
        accumulator = reduce.add(accumulator, update)
    return accumulator


def merged(blocks):
    accumulator = REDUCE.zero()
    for block in blocks:
        accumulator = REDUCE.merge(accumulator, fold(block))
    return REDUCE.result(accumulator)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_a_message_may_be_a_tensor_alone(shape):
    """Also one whose sum is zero so far, which is not the same as none."""
    updates = [Update(torch.full(shape, value), 1, at) for at, value in enumerate((0.0, 1.0, 2.0))]
    torch.testing.assert_close(REDUCE.result(fold(updates)), torch.ones(shape))
    torch.testing.assert_close(merged([updates[:1], updates[1:]]), torch.ones(shape))


@pytest.mark.parametrize("message", [torch.tensor(0.0), torch.zeros(3), {"a": torch.zeros(2)}])
def test_the_sole_message_may_be_a_tensor_alone(message):
    reduce = sole()
    given = reduce.add(reduce.zero(), Update(message, 1, 0))
    for merged in (reduce.merge(reduce.zero(), given), reduce.merge(given, reduce.zero())):
        assert reduce.result(merged) is message


WHOLE = st.integers(-99, 99).map(lambda number: torch.full((2,), float(number)))
MESSAGES = st.dictionaries(
    st.sampled_from("ab"), st.dictionaries(st.sampled_from("wv"), WHOLE, min_size=1), min_size=1
)


@given(
    st.lists(st.tuples(MESSAGES, st.integers(1, 50)), max_size=7),
    st.sets(st.integers(0, 7)),
    st.booleans(),
    st.data(),
)
def test_in_any_grouping_it_is_the_mean_of_what_was_sent(sent, cuts, by_samples, data):
    """Whole numbers, so that nothing is rounded; what a message does not name is zero in it."""
    reduce = mean(by_samples=by_samples)
    updates = [Update(message, samples, at) for at, (message, samples) in enumerate(sent)]
    before = [tree.map(torch.clone, each.message) for each in updates]
    edges = [0, *sorted(cut for cut in cuts if cut <= len(sent)), len(sent)]
    blocks = [fold(updates[start:stop], reduce) for start, stop in pairwise(edges)]
    while len(blocks) > 1:  # neighbours, for merging keeps the order
        at = data.draw(st.integers(0, len(blocks) - 2), label="which are merged next")
        blocks[at : at + 2] = [reduce.merge(*blocks[at : at + 2])]
    weights = [samples if by_samples else 1 for _, samples in sent]
    leaves = [dict(tree.leaves(message)) for message in before]
    expected = {
        path: sum(weight * each.get(path, 0) for weight, each in zip(weights, leaves, strict=True))
        * (1 / sum(weights))
        for path in set().union(*leaves)
    }
    assert_equal(reduce.result(blocks[0]), tree.from_leaves(expected))
    for update, message in zip(updates, before, strict=True):
        assert_equal(update.message, message)


def test_half_precision_is_added_up_in_float32():
    """Of bfloat16, 256 + 1 is 256."""
    updates = [Update(torch.ones(1).bfloat16(), 1, at) for at in range(1000)]
    assert float(REDUCE.result(fold(updates))) == pytest.approx(1.0)
    stacked = REDUCE.stacked(torch.ones(1000, 1).bfloat16(), torch.ones(1000))
    assert float(REDUCE.result(stacked)) == pytest.approx(1.0)


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
    merged = reduce.merge(fold(updates[:3], reduce), fold(updates[3:], reduce))
    found = reduce.result(merged)
    assert found.pop("2") == {}
    expected = {str(group): REDUCE.result(fold(updates[group::2])) for group in (0, 1)}
    torch.testing.assert_close(found, expected)


def in_some_grouping(reduce, updates, cuts, data):
    """What they come to, cut into blocks of which neighbours are merged in any order."""
    edges = [0, *sorted(cut for cut in cuts if cut <= len(updates)), len(updates)]
    blocks = [fold(updates[start:stop], reduce) for start, stop in pairwise(edges)]
    while len(blocks) > 1:
        at = data.draw(st.integers(0, len(blocks) - 2), label="which are merged next")
        blocks[at : at + 2] = [reduce.merge(*blocks[at : at + 2])]
    return reduce.result(blocks[0])


NUMBERS = st.lists(st.integers(-99, 99), max_size=7)  # a message each, of clients 0, 1, ...
CUTS = st.sets(st.integers(0, 7))


def sent(numbers, make):
    return [Update(make(float(number)), 3 + at, at) for at, number in enumerate(numbers)]


@given(NUMBERS, CUTS, st.data())
def test_in_any_grouping_each_part_follows_its_own_rule(numbers, cuts, data):
    rules = {"mean": mean(), "total": total(), "weight": total(by_samples=True)}

    def make(number):
        value = torch.tensor(number)
        return {"mean": {"w": value}, "total": {"w": value}, "weight": torch.tensor(1.0)}

    updates = sent(numbers, make)
    expected = {
        name: rule.result(fold([u._replace(message=u.message[name]) for u in updates], rule))
        for name, rule in rules.items()
    }
    assert_equal(in_some_grouping(parts(**rules), updates, cuts, data), expected)
    if updates:
        assert expected["total"]["w"] == sum(numbers)
        assert expected["weight"] == sum(3 + at for at in range(len(numbers)))


@given(NUMBERS, CUTS, st.data())
def test_in_any_grouping_messages_stand_side_by_side_in_order(numbers, cuts, data):
    updates = sent(numbers, lambda number: {"a": {"w": torch.full((2,), number)}})
    found = in_some_grouping(stack(), updates, cuts, data)
    if not numbers:
        assert found == {}
        return
    values = torch.tensor(numbers, dtype=torch.float32)[:, None].expand(-1, 2)
    expected = {
        "messages": {"a": {"w": values}},
        "clients": torch.arange(len(numbers)),
        "samples": 3 + torch.arange(len(numbers)),
    }
    assert_equal(found, expected)


@pytest.mark.parametrize("make", [torch.tensor, lambda number: {"loss": torch.tensor(number)}])
@given(NUMBERS, CUTS, st.data())
def test_in_any_grouping_scalars_come_to_their_clients_places(make, numbers, cuts, data):
    updates = [each._replace(client=2 * each.client) for each in sent(numbers, make)]
    found = in_some_grouping(scatter(15), updates, cuts, data)
    values, count = torch.zeros(15), torch.zeros(15, dtype=torch.int64)
    count[: 2 * len(numbers) : 2] = 1
    values[: 2 * len(numbers) : 2] = torch.tensor(numbers, dtype=torch.float32)
    like = make(0.0) if numbers else {}
    assert_equal(found, {"values": tree.map(lambda _: values, like), "count": count})


def test_of_a_client_that_sent_twice_there_is_the_mean():
    updates = [Update(torch.tensor(value), 1, 1) for value in (2.0, 5.0)]
    found = scatter(3).result(fold(updates, scatter(3)))
    expected = {"values": torch.tensor([0, 3.5, 0]), "count": torch.tensor([0, 2, 0])}
    assert_equal(found, expected)


def test_parts_are_stacked_and_additive_if_all_are(updates):
    both, neither = parts(a=mean(), b=total()), parts(a=mean(), b=stack())
    assert both.additive
    assert not neither.additive
    assert neither.stacked is None
    messages = tree.map(lambda *leaves: torch.stack(leaves), *(each.message for each in updates))
    given = both.result(both.stacked(messages, torch.tensor(SAMPLES)))
    torch.testing.assert_close(given, both.result(fold(updates, both)))


@pytest.mark.parametrize("message", [{"a": torch.ones(())}, torch.ones(())])
def test_a_message_with_other_parts_is_refused(message):
    with pytest.raises(SpecError, match="must have the parts a, b, but it has "):
        fold([Update(message, 1, 0)], parts(a=mean(), b=total()))
