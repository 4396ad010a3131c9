"""How training samples fall to clients: pure functions of labels and a seed.

Whatever the partition, no sample belongs to two clients and no client is without samples.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np

from raydl.core.errors import SpecError, require
from raydl.core.spec import Spec


@dataclass(frozen=True, eq=False)
class Partition:
    """Which samples each client has, as one flat array: 100,000 clients cost no 100,000 lists.

    ``partition[client]`` is the client's samples, int64 [n_k], a view.

    Args:
        indices: the samples of client 0, then those of client 1, and so on; int64 [total].
        offsets: where each client's begin, and after the last where they end; int64 [clients + 1].
    """

    indices: np.ndarray
    offsets: np.ndarray

    @classmethod
    def cut(cls, indices: np.ndarray, sizes: np.ndarray) -> "Partition":
        """The partition that gives the first ``sizes[0]`` indices to client 0, and so on."""
        offsets = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return cls(indices.astype(np.int64, copy=False), offsets)

    @cached_property
    def sizes(self) -> np.ndarray:
        """The number of samples of each client, int64 [clients]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, client: int) -> np.ndarray:
        if not 0 <= client < len(self):
            raise IndexError(f"client {client} of a partition into {len(self)}")
        return self.indices[self.offsets[client] : self.offsets[client + 1]]


class PartitionSpec(Protocol):
    """A spec that says which client has which samples."""

    def assign(
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """Divides samples over clients.

        Args:
            labels: the class of each sample, int64 [n]; [n, T] if each sample has several.
            clients: number of clients (N).
            seed: seeds the draws; the same labels and seed give the same partition.
            owners: the natural client of each sample, int64 [n].

        Returns:
            Disjoint samples, at least one for each client.

        Raises:
            SpecError: if the labels cannot be divided so.
        """
        ...


@dataclass(frozen=True)
class IID(Spec, field="partition"):
    """Samples in random order, cut into parts of equal size (up to one sample)."""

    def assign(
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """``array_split(default_rng(seed).permutation(n), clients)``."""
        check_clients(clients, len(labels))
        order = np.random.default_rng(seed).permutation(len(labels))
        return Partition.cut(order, even_sizes(len(labels), clients))


@dataclass(frozen=True)
class Shards(Spec, field="partition"):
    """Samples sorted by label and cut into shards, some for each client: few labels each.

    B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, section 3.

    Args:
        per_client: shards for each client.
    """

    per_client: int = 2

    def __post_init__(self) -> None:
        require(self.per_client >= 1, "partition.per_client", self.per_client, "1 or larger")

    def assign(
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """Sorts, cuts into ``per_client * clients`` shards, and deals these out at random."""
        check_labels(labels, "Shards")
        check_clients(clients, len(labels))
        shards = self.per_client * clients
        most = f"at most {len(labels) // clients}: a shard needs a sample"
        require(shards <= len(labels), "partition.per_client", self.per_client, most)
        by_label = np.argsort(labels, kind="stable")
        dealt = np.random.default_rng(seed).permutation(shards)
        sizes = even_sizes(len(labels), shards)
        starts = np.cumsum(sizes) - sizes
        indices = by_label[ranges(starts[dealt], sizes[dealt])]
        return Partition.cut(indices, sizes[dealt].reshape(clients, -1).sum(axis=1))


@dataclass(frozen=True)
class Natural(Spec, field="partition"):
    """Each sample belongs to the client that the data set says: a writer, a role, a device."""

    def assign(
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """One client for each distinct owner, in ascending order of owners."""
        if owners is None:
            raise SpecError(
                "partition is Natural, but the data names no owners of its samples; choose another "
                "partition, or data with owners"
            )
        distinct, sizes = np.unique(owners, return_counts=True)
        allowed = f"{len(distinct)}, the number of natural clients in the data"
        require(clients == len(distinct), "clients", clients, allowed)
        return Partition.cut(np.argsort(owners, kind="stable"), sizes)


def check_clients(clients: int, samples: int) -> None:
    """Raises a SpecError unless each client can have a sample."""
    require(1 <= clients <= samples, "clients", clients, f"1 to {samples}, one sample for each")


def check_labels(labels: np.ndarray, partition: str) -> None:
    """Raises a SpecError unless each sample has one label."""
    if labels.ndim != 1:
        raise SpecError(
            f"partition is {partition}, which needs one label for each sample; these have "
            f"{labels.shape[1]} targets each: choose IID, Quantity or Natural"
        )


def even_sizes(total: int, parts: int) -> np.ndarray:
    """The sizes of ``np.array_split``: the first ``total % parts`` parts are one larger."""
    return total // parts + (np.arange(parts) < total % parts)


def ranges(starts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """``starts[0], starts[0] + 1, ...``, ``sizes[0]`` of them, then those of ``starts[1]``, ..."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])
