"""What passes between the workers and the shards of a parameter server, and what is known of it."""

from typing import NamedTuple

import torch
from torch import Tensor

from raydl.runtimes.shared import Wire


class MessageError(RuntimeError):
    """A shard was sent something that it cannot verify, and did not apply."""


class Header(NamedTuple):
    """What comes with a worker's message, or alone as a pull.

    Attributes:
        worker: who sends it.
        ticket: its place in the order; None where the order does not count.
        begun: the version of the parameters that the worker began from; None for a pull.
        length: of the message's part, in bytes; 0 where the update was not finite, and is not sent.
        row: what is known of the worker's training; None for a pull, or if it was lost.
    """

    worker: int
    ticket: int | None
    begun: int | None = None
    length: int = 0
    row: dict[str, float] | None = None


class Progress(NamedTuple):
    """How far a shard is.

    Attributes:
        version: steps of the server.
        pushes: messages that it took.
    """

    version: int
    pushes: int


class Snapshot(NamedTuple):
    """A shard as it was: its part of the server's state, and what it took in this round."""

    progress: Progress
    state: Wire
    rows: list[dict[str, float]]


def columns(rows: list[dict[str, float]], barrier: bool) -> dict[str, Tensor]:
    """The rows as columns, float64: in the order of the pushes, or of the workers in every step.

    Args:
        rows: of the pushes: the columns of `Folded`, the version at which the worker ``begun``,
            how many steps of the server old the push was, its ``staleness``, and the ``first`` of
            its local steps, where the plan has such.
        barrier: whether all workers begin anew after a step.
    """
    if barrier:
        rows = sorted(rows, key=lambda row: (row["begun"] + row["staleness"], row["client"]))
    names = max(rows, key=len)
    table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
    return dict(zip(names, table.unbind(1), strict=True))


def training_seconds(clients: dict[str, Tensor], barrier: bool) -> float:
    """Of the training alone: the slowest worker's, with a barrier the slowest's of every step."""
    seconds = clients["seconds"]
    groups = clients["begun" if barrier else "client"]
    own = [seconds[groups == each] for each in groups.unique()]
    return float(sum(each.max() for each in own) if barrier else max(each.sum() for each in own))
