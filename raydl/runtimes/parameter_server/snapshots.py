"""The actor that keeps the snapshots of a parameter server's shards, and outlives them.

It does not look into what it keeps, and so does without torch, which takes seconds to import.
"""

import pickle

import numpy as np

from raydl.runtimes.parameter_server.messages import Snapshot


class SnapshotStore:
    """Keeps every shard's newest snapshot, sealed."""

    def __init__(self) -> None:
        self._kept: dict[int, np.ndarray] = {}

    def keep(self, shard: int, snapshot: np.ndarray) -> None:
        """Takes a snapshot, in memory of its own: a shard's objects end with the shard."""
        self._kept[shard] = snapshot.copy()

    def newest(self, shard: int) -> np.ndarray | None:
        """The newest snapshot of a shard; None if there is none."""
        return self._kept.get(shard)


def seal(snapshot: Snapshot) -> np.ndarray:
    """A snapshot as bytes, uint8 [bytes], which Ray moves without looking into them."""
    return np.frombuffer(pickle.dumps(snapshot, protocol=5), np.uint8)


def unseal(snapshot: np.ndarray) -> Snapshot:
    """The snapshot that was sealed."""
    opened: Snapshot = pickle.loads(snapshot.data)
    return opened
