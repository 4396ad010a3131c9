"""What passes between the workers and the shards of a parameter server, and what is known of it."""

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from raydl.runtimes.ray_cluster.transport import Wire


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


class ShardProgress(NamedTuple):
    """How far a shard is.

    Attributes:
        version: steps of the server.
        pushes: messages that it took.
    """

    version: int
    pushes: int


class Snapshot(NamedTuple):
    """A shard as it was.

    Attributes:
        progress: how far it was.
        state: its part of the server's state.
        rows: what it took in this round.
        metrics: what the server reported in this round's last step.
    """

    progress: ShardProgress
    state: "Wire"
    rows: list[dict[str, float]]
    metrics: dict[str, float]
