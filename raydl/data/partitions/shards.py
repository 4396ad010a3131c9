"""Shards of samples sorted by label, some for each client."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    check_clients,
    check_sortable,
    even_sizes,
    ranges,
)


@dataclass(frozen=True)
class Shards(PartitionSpec):
    """Samples sorted by label and cut into shards, some for each client: few labels each.

    Targets that are numbers are sorted by, too.

    B. McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data",
    AISTATS 2017, section 3.

    Args:
        per_client: shards of each client.
    """

    per_client: int = 2

    def __post_init__(self) -> None:
        require(self.per_client >= 1, "partition.per_client", self.per_client, "1 or larger")

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Sorts, cuts into ``per_client * clients`` shards, and deals these out at random."""
        check_sortable(labels, "Shards")
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
