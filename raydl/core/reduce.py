"""How the clients' updates become one."""

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Reduce, Update
from raydl.core.tree import Tree


def mean() -> Reduce:
    """The mean of the messages, weighted by the clients' numbers of samples.

    result = Σₖ nₖ mₖ / Σₖ nₖ; of no updates at all, the empty tree.
    """

    def zero() -> Tree:
        return {"samples": torch.zeros((), dtype=torch.float64), "sum": {}}

    def add(accumulator: Tree, update: Update) -> Tree:
        accumulator["samples"] += update.samples
        if accumulator["sum"]:
            tree.axpy_(accumulator["sum"], update.samples, update.message)
        else:
            accumulator["sum"] = tree.scale(update.message, update.samples)
        return accumulator

    def merge(accumulator: Tree, other: Tree) -> Tree:
        if not accumulator["sum"]:
            return tree.map(torch.clone, other)
        if other["sum"]:
            accumulator["samples"] += other["samples"]
            tree.axpy_(accumulator["sum"], 1.0, other["sum"])
        return accumulator

    def result(accumulator: Tree) -> Tree:
        return tree.scale(accumulator["sum"], 1 / float(accumulator["samples"] or 1))

    def stacked(messages: Tree, samples: Tensor) -> Tree:
        sums = tree.map(lambda leaf: torch.tensordot(samples.to(leaf), leaf, 1), messages)
        return {"samples": samples.sum(dtype=torch.float64), "sum": sums}

    return Reduce(zero, add, merge, result, stacked, additive=True)
