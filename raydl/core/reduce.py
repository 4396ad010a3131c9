"""How the clients' updates become one.

mean, total      leaf by leaf, weighted by samples or not
parts            each named part of the messages by a rule of its own
stack, scatter   of every client what it sent, side by side or at its own place
grouped          each group of clients for itself
sole             the one message that there is
"""

from collections.abc import Callable
from operator import itemgetter

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Accumulator, Message, Reduce, Reduced, Update
from raydl.core.errors import SpecError


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
        accumulator["weight"] += other["weight"]
        if tree.is_empty(accumulator["sum"]):
            accumulator["sum"] = tree.map(torch.clone, other["sum"])
        elif not tree.is_empty(other["sum"]):
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


def parts(**rules: Reduce) -> Reduce:
    """A reduction of messages in named parts, each part by its own rule.

    Of ``parts(delta=mean(), count=total())`` a message is ``{"delta": ..., "count": ...}``, and so
    is the result.

    Args:
        rules: by the name of the part.

    Raises:
        SpecError: from ``add``, if a message has other parts.
    """

    def part(message: Message, name: str) -> Message:
        if not isinstance(message, dict) or message.keys() != rules.keys():
            sent = ", ".join(sorted(message)) if isinstance(message, dict) else "a tensor alone"
            raise SpecError(f"a message must have the parts {', '.join(rules)}, but it has {sent}")
        return message[name]

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        return {
            name: rule.add(accumulator[name], update._replace(message=part(update.message, name)))
            for name, rule in rules.items()
        }

    def merge(accumulator: Accumulator, other: Accumulator) -> Accumulator:
        return {name: rule.merge(accumulator[name], other[name]) for name, rule in rules.items()}

    fast = {name: rule.stacked for name, rule in rules.items() if rule.stacked is not None}

    def stacked(messages: Message, samples: Tensor) -> Accumulator:
        return {name: each(part(messages, name), samples) for name, each in fast.items()}

    return Reduce(
        zero=lambda: {name: rule.zero() for name, rule in rules.items()},
        add=add,
        merge=merge,
        result=lambda accumulator: {
            name: rule.result(accumulator[name]) for name, rule in rules.items()
        },
        stacked=stacked if fast.keys() == rules.keys() else None,
        additive=all(rule.additive for rule in rules.values()),
    )


def scatter(clients: int) -> Reduce:
    """The scalars that clients sent, each at its client's place.

    The result is ``{"values": tree of [clients], "count": int64 [clients]}``: of each client the
    mean of what it sent, 0 where it sent nothing, and how often it sent; of no update at all
    ``values`` is the empty tree.

    Args:
        clients: number of clients there are (N). A message is a tree of tensors [].
    """

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        def place(leaf: Tensor) -> Tensor:
            return leaf.new_zeros(clients).index_fill(0, torch.tensor(update.client), leaf)

        placed = tree.map(lambda leaf: place(_wide(leaf)), update.message)
        return merge(accumulator, {"count": place(torch.tensor(1)), "sum": placed})

    def merge(accumulator: Accumulator, other: Accumulator) -> Accumulator:
        if tree.is_empty(accumulator["sum"]):
            return tree.map(torch.clone, other)
        if not tree.is_empty(other["sum"]):
            accumulator["count"] += other["count"]
            accumulator["sum"] = tree.axpy_(accumulator["sum"], 1, other["sum"])
        return accumulator

    def result(accumulator: Accumulator) -> Reduced:
        count = accumulator["count"]
        values = tree.map(lambda leaf: leaf / count.clamp(min=1).to(leaf), accumulator["sum"])
        return {"values": values, "count": count}

    return Reduce(
        zero=lambda: {"count": torch.zeros(clients, dtype=torch.int64), "sum": {}},
        add=add,
        merge=merge,
        result=result,
        additive=True,
    )


def sole() -> Reduce:
    """The one message that there is, as it was sent; of no update at all, the empty tree."""
    return Reduce(
        zero=dict,
        add=lambda accumulator, update: update.message,
        merge=lambda accumulator, other: accumulator if tree.is_empty(other) else other,
        result=lambda accumulator: accumulator,
    )


def stack() -> Reduce:
    """The messages side by side, in the order of the cohort.

    The result is ``{"messages": tree of [m, ...], "clients": int64 [m], "samples": int64 [m]}``; of
    no updates at all, the empty tree. It takes the memory of all messages.
    """

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        row = {
            "messages": tree.map(torch.clone, update.message),
            "clients": torch.tensor(update.client),
            "samples": torch.tensor(update.samples),
        }
        return accumulator | {str(len(accumulator)): row}

    def merge(accumulator: Accumulator, other: Accumulator) -> Accumulator:
        before = len(accumulator)
        rows = {str(before + int(at)): tree.map(torch.clone, row) for at, row in other.items()}
        return accumulator | rows

    def result(accumulator: Accumulator) -> Reduced:
        rows = [accumulator[str(position)] for position in range(len(accumulator))]
        return tree.map(lambda *leaves: torch.stack(leaves), *rows) if rows else {}

    return Reduce(zero=dict, add=add, merge=merge, result=result)


def total(*, by_samples: bool = False) -> Reduce:
    """The sum of the messages; of no updates at all, the empty tree.

    result = Σₖ nₖ mₖ, where nₖ is the number of client k's samples or 1, as for `mean`.
    """
    return mean(by_samples=by_samples)._replace(result=itemgetter("sum"))


def _wide(leaf: Tensor) -> Tensor:
    """The leaf in a type in which many of its like can be added up."""
    return leaf.float() if leaf.is_floating_point() and leaf.itemsize < 4 else leaf
