"""The actor that gives the pushes to a parameter server their order, and outlives the shards.

It does without torch, which takes a process seconds to import.
"""

from raydl.runtimes.parameter_server.messages import Header


class Sequencer:
    """The actor that says in which order the shards take what workers send to all of them."""

    def __init__(self) -> None:
        self._next, self._left = 0, 0
        self._last: dict[int, Header] = {}

    def open(self, pushes: int) -> int:
        """Begins to give out tickets, for at most so many pushes; returns the first."""
        self._left = pushes
        return self._next

    def ticket(self, worker: int, begun: int | None) -> int | None:
        """The next ticket, for a pull or a push; None if no push is wanted any more."""
        if begun is not None:
            if not self._left:
                return None
            self._left -= 1
        self._last[worker] = Header(worker, self._next, begun)
        self._next += 1
        return self._last[worker].ticket

    def last(self, worker: int) -> Header | None:
        """What a worker was given its last ticket for."""
        return self._last.get(worker)
