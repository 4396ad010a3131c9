"""Two small actors beside the shards of a parameter server, which outlive them."""

import torch

from raydl.core import tree
from raydl.runtimes.messages import Header, Snapshot
from raydl.runtimes.shared import received, wired


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


class Vault:
    """The actor that keeps every shard's newest snapshot."""

    def __init__(self) -> None:
        self._kept: dict[int, Snapshot] = {}

    def keep(self, shard: int, snapshot: Snapshot) -> None:
        """Takes a snapshot, in memory of its own: a shard's objects end with the shard."""
        own = tree.map(torch.clone, received(snapshot.state))
        self._kept[shard] = snapshot._replace(state=wired(own))

    def newest(self, shard: int) -> Snapshot | None:
        """The newest snapshot of a shard; None if there is none."""
        return self._kept.get(shard)
