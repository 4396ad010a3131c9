"""How the clients' updates become one."""

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Accumulator, Message, Reduce, Reduced, Update


def grouped(reduce: Reduce, group: Callable[[int], int], groups: int) -> Reduce:
    """A reduction of every group of clients for itself: to ``{"0": ..., "1": ..., ...}``.

    Args:
        reduce: of a group.
        group: client -> its group, in [0, groups).
        groups: how many there are.
    """
    names = [str(number) for number in range(groups)]

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        name = str(group(update.client))
        return accumulator | {name: reduce.add(accumulator[name], update)}

    return Reduce(
        zero=lambda: {name: reduce.zero() for name in names},
        add=add,
        merge=lambda one, other: {name: reduce.merge(one[name], other[name]) for name in names},
        result=lambda accumulator: {name: reduce.result(accumulator[name]) for name in names},
        additive=reduce.additive,
    )


def counted(reduce: Reduce) -> Reduce:
    """A reduction beside the number of updates that went into it: ``{"of": ..., "updates": m}``."""

    def counts(accumulator: Accumulator, updates: Tensor | int, of: Accumulator) -> Accumulator:
        return {"of": of, "updates": accumulator["updates"] + updates}

    def stacked(messages: Message, samples: Tensor) -> Accumulator:
        assert reduce.stacked is not None
        updates = torch.tensor(len(samples), dtype=torch.float64)
        return {"of": reduce.stacked(messages, samples), "updates": updates}

    return Reduce(
        zero=lambda: {"of": reduce.zero(), "updates": torch.zeros((), dtype=torch.float64)},
        add=lambda one, update: counts(one, 1, reduce.add(one["of"], update)),
        merge=lambda one, two: counts(one, two["updates"], reduce.merge(one["of"], two["of"])),
        result=lambda one: {"of": reduce.result(one["of"]), "updates": one["updates"]},
        stacked=None if reduce.stacked is None else stacked,
        additive=reduce.additive,
    )


def mean(*, by_samples: bool = True) -> Reduce:
    """The mean of the messages.

    result = Σₖ nₖ mₖ / Σₖ nₖ; of no updates at all, the empty tree. What a message does not name
    counts as zero in it. Half-precision messages are added up, and given back, in float32.

    Args:
        by_samples: whether nₖ is the number of client k's samples; otherwise it is 1.
    """

    def zero() -> Accumulator:
        return {"weight": torch.zeros((), dtype=torch.float64), "sum": {}}

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        weight = update.samples if by_samples else 1
        accumulator["weight"] += weight
        if tree.is_empty(accumulator["sum"]):
            accumulator["sum"] = tree.scale(tree.map(_wide, update.message), weight)
        else:
            accumulator["sum"] = tree.axpy_(accumulator["sum"], weight, update.message)
        return accumulator

    def merge(accumulator: Accumulator, other: Accumulator) -> Accumulator:
        if tree.is_empty(accumulator["sum"]):
            return tree.map(torch.clone, other)
        if not tree.is_empty(other["sum"]):
            accumulator["weight"] += other["weight"]
            accumulator["sum"] = tree.axpy_(accumulator["sum"], 1, other["sum"])
        return accumulator

    def result(accumulator: Accumulator) -> Reduced:
        return tree.scale(accumulator["sum"], 1 / float(accumulator["weight"] or 1))

    def stacked(messages: Message, samples: Tensor) -> Accumulator:
        weights = samples if by_samples else torch.ones_like(samples)

        def weighted(leaf: Tensor) -> Tensor:
            together: Tensor = torch.tensordot(weights.to(leaf), leaf, 1)
            return together

        sums = tree.map(lambda leaf: weighted(_wide(leaf)), messages)
        return {"weight": weights.sum(dtype=torch.float64), "sum": sums}

    return Reduce(zero, add, merge, result, stacked, additive=True)


def sole() -> Reduce:
    """The one message that there is, as it was sent; of no update at all, the empty tree."""
    return Reduce(
        zero=dict,
        add=lambda accumulator, update: update.message,
        merge=lambda accumulator, other: accumulator if tree.is_empty(other) else other,
        result=lambda accumulator: accumulator,
    )


def total() -> Reduce:
    """The sum of the messages; of no updates at all, the empty tree."""
    return mean(by_samples=False)._replace(result=itemgetter("sum"))


def _wide(leaf: Tensor) -> Tensor:
    """The leaf in a type in which many of its like can be added up."""
    return leaf.float() if leaf.is_floating_point() and leaf.itemsize < 4 else leaf
