"""How training samples fall to clients: pure functions of labels and a seed.

Whatever the partition, no sample belongs to two clients and no client is without samples.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

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

    indices: npt.NDArray[np.int64]
    offsets: npt.NDArray[np.int64]

    @classmethod
    def cut(cls, indices: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> "Partition":
        """The partition that gives the first ``sizes[0]`` indices to client 0, and so on."""
        offsets = np.zeros(len(sizes) + 1, np.int64)
        np.cumsum(sizes, out=offsets[1:])
        return cls(indices.astype(np.int64, copy=False), offsets)

    @cached_property
    def sizes(self) -> npt.NDArray[np.int64]:
        """The number of samples of each client, int64 [clients]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, client: int) -> npt.NDArray[np.int64]:
        if not 0 <= client < len(self):
            raise IndexError(f"client {client} of a partition into {len(self)}")
        return self.indices[self.offsets[client] : self.offsets[client + 1]]


class PartitionSpec(Spec, ABC, field="partition"):
    """A spec that says which client has which samples.

    An own one need not be a subclass: an object with ``assign``, or a function of its arguments, is
    one.
    """

    def natural_clients(self, owners: npt.NDArray[np.int64]) -> int | None:
        """The number of clients that it makes of the owners of samples, int64 [n], by itself.

        None if the run says how many there are.
        """
        return None

    @abstractmethod
    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Divides samples over clients.

        Args:
            labels: the class of each sample, int64 [n]; [n, ...] if each sample has several, and
                float32 if targets are numbers.
            clients: number of clients (N).
            seed: seeds the draws; the same labels and seed give the same partition.
            owners: the natural client of each sample, int64 [n].

        Returns:
            Disjoint samples, at least one for each client.

        Raises:
            SpecError: if the labels cannot be divided so.
        """


def check_clients(clients: int, samples: int) -> None:
    """Raises a SpecError unless each client can have a sample."""
    require(1 <= clients <= samples, "clients", clients, f"1 to {samples}, one sample for each")


def check_labels(labels: npt.NDArray[Any], partition: str) -> None:
    """Raises a SpecError unless each sample has one label, and that is a class."""
    check_sortable(labels, partition)
    if labels.dtype.kind == "f":
        raise SpecError(
            f"partition is {partition}, which needs a class of each sample, but the targets are "
            "numbers: choose IID, Quantity or Natural, or Shards, which sorts by them"
        )


def check_sortable(labels: npt.NDArray[Any], partition: str) -> None:
    """Raises a SpecError unless each sample has one label."""
    if labels.ndim != 1:
        raise SpecError(
            f"partition is {partition}, which needs one label for each sample; these have "
            f"{labels.shape[1]} targets each: choose IID, Quantity or Natural"
        )


def even_sizes(total: int, parts: int) -> npt.NDArray[np.int64]:
    """The sizes of ``np.array_split``: the first ``total % parts`` parts are one larger."""
    return total // parts + (np.arange(parts) < total % parts)


def class_sizes(
    labels: npt.NDArray[np.int64], clients: int, per_client: int, partition: str
) -> npt.NDArray[np.int64]:
    """The samples of each class there is, int64 [classes], of which each client has some.

    Args:
        labels: the class of each sample, int64 [n].
        clients: number of clients (N).
        per_client: classes of each client.
        partition: what errors call the partition.

    Raises:
        SpecError: unless each sample has a class, each client can have a sample, and there are so
            many classes.
    """
    check_labels(labels, partition)
    check_clients(clients, len(labels))
    sizes = np.unique(labels, return_counts=True)[1]
    most = f"at most {len(sizes)}, the number of classes"
    require(per_client <= len(sizes), "partition.per_client", per_client, most)
    return sizes


def whole_parts(quotas: npt.NDArray[np.float64], total: int) -> npt.NDArray[np.int64]:
    """Quotas as whole numbers that sum to a total: those of the largest remainders rounded up."""
    parts: npt.NDArray[np.int64] = quotas.astype(np.int64)
    parts[np.argsort(parts - quotas, kind="stable")[: total - parts.sum()]] += 1
    return parts


def ranges(starts: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """``starts[0], starts[0] + 1, ...``, ``sizes[0]`` of them, then those of ``starts[1]``, ..."""
    ends = np.cumsum(sizes)
    return np.repeat(starts - ends + sizes, sizes) + np.arange(ends[-1])


def deal_samples(
    labels: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], rng: np.random.Generator
) -> Partition:
    """Gives client k ``counts[k, c]`` random samples of the c-th class, from [clients, classes]."""
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(sizes) - sizes + np.cumsum(counts, axis=0) - counts
    return Partition.cut(by_class[ranges(starts.ravel(), counts.ravel())], counts.sum(axis=1))
