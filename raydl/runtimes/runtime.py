"""What every runtime does: map the local training over a cohort, and reduce what comes of it."""

from collections.abc import Callable, Iterable
from time import perf_counter
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from raydl.core.algorithm import Reduce, Work
from raydl.core.cost import Communication
from raydl.core.tree import Params, Tree
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.evaluation import Score


class Traffic(NamedTuple):
    """What was sent, where it was not one broadcast to and one message from each client."""

    messages: int
    bytes_down: int
    bytes_up: int

    @classmethod
    def of(cls, exchange: Communication) -> "Traffic":
        """That of an exchange."""
        return cls(exchange.messages, exchange.bytes_down, exchange.bytes_up)


class Reduced(NamedTuple):
    """What came of a cohort.

    Attributes:
        accumulator: the blocks' accumulators, merged in block order.
        clients: the columns of `Folded`, over the cohort.
        merge_seconds: what merging the blocks took.
        traffic: what was sent; None for a star, whose clients each received the broadcast and
            sent their message.
        seconds: of virtual time that the cohort took, of a runtime that keeps such.
    """

    accumulator: Tree
    clients: dict[str, Tensor]
    merge_seconds: float
    traffic: Traffic | None = None
    seconds: float | None = None


class Runtime(Protocol):
    """Where an algorithm runs.

    Attributes:
        leads: whether this process writes the run down: where several do the run together, one.
    """

    leads: bool = True

    def agree(self, number: int) -> int:
        """The largest of the numbers that the processes of the run give, the same in each."""
        return number

    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Trains the cohort from the broadcast and reduces its updates."""
        ...

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Starts to score the model on a split; the call that is returned waits for the score."""
        ...

    def kept(self) -> Kept:
        """What every client keeps by now, for a checkpoint."""
        ...

    def restore(self, kept: Kept) -> None:
        """Takes up what the clients of an interrupted run kept."""
        ...

    def close(self) -> None:
        """Gives back the workers."""
        ...


_COLUMNS = ("client", "samples", "steps", "bytes_up", "seconds", "finite")
_NOBODY = torch.empty(0, dtype=torch.float64)


def merge(reduce: Reduce, blocks: Iterable[Folded]) -> Reduced:
    """Merges blocks in the order in which they come."""
    accumulator, columns, seconds = reduce.zero(), [], 0.0
    for block in blocks:
        started = perf_counter()
        accumulator = reduce.merge(accumulator, block.accumulator)
        seconds += perf_counter() - started
        columns.append(block.clients)
    names = columns[0] if columns else _COLUMNS  # of nobody, there are no metrics
    clients = {name: torch.cat([_NOBODY, *(each[name] for each in columns)]) for name in names}
    return Reduced(accumulator, clients, seconds)
