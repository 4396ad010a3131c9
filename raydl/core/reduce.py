"""How the clients' updates become one."""

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Reduce, Update
from raydl.core.tree import Tree


def grouped(reduce: Reduce, group: Callable[[int], int], groups: int) -> Reduce:
    """A reduction of every group of clients for itself: to ``{"0": ..., "1": ..., ...}``.

    Args:
        reduce: of a group.
        group: client -> its group, in [0, groups).
        groups: how many there are.
    """
    names = [str(number) for number in range(groups)]

    def add(accumulator: Tree, update: Update) -> Tree:
        name = str(group(update.client))
        return accumulator | {name: reduce.add(accumulator[name], update)}

    return Reduce(
        zero=lambda: {name: reduce.zero() for name in names},
        add=add,
        merge=lambda one, other: {name: reduce.merge(one[name], other[name]) for name in names},
        result=lambda accumulator: {name: reduce.result(accumulator[name]) for name in names},
        additive=reduce.additive,
    )


def mean(by_samples: bool = True) -> Reduce:
    """The mean of the messages.

    result = Σₖ nₖ mₖ / Σₖ nₖ; of no updates at all, the empty tree.

    Args:
        by_samples: whether nₖ is the number of client k's samples; otherwise it is 1.
    """

    def zero() -> Tree:
        return {"weight": torch.zeros((), dtype=torch.float64), "sum": {}}

    def add(accumulator: Tree, update: Update) -> Tree:
        weight = update.samples if by_samples else 1
        accumulator["weight"] += weight
        if accumulator["sum"]:
            tree.axpy_(accumulator["sum"], weight, update.message)
        else:
            accumulator["sum"] = tree.scale(update.message, weight)
        return accumulator

    def merge(accumulator: Tree, other: Tree) -> Tree:
        if not accumulator["sum"]:
            return tree.map(torch.clone, other)
        if other["sum"]:
            accumulator["weight"] += other["weight"]
            tree.axpy_(accumulator["sum"], 1.0, other["sum"])
        return accumulator

    def result(accumulator: Tree) -> Tree:
        return tree.scale(accumulator["sum"], 1 / float(accumulator["weight"] or 1))

    def stacked(messages: Tree, samples: Tensor) -> Tree:
        weights = samples if by_samples else torch.ones_like(samples)
        sums = tree.map(lambda leaf: torch.tensordot(weights.to(leaf), leaf, 1), messages)
        return {"weight": weights.sum(dtype=torch.float64), "sum": sums}

    return Reduce(zero, add, merge, result, stacked, additive=True)


def total() -> Reduce:
    """The sum of the messages; of no updates at all, the empty tree."""
    return mean(by_samples=False)._replace(result=itemgetter("sum"))
