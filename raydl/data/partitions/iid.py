"""Equal parts of samples in random order."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.data.partitions.partition import Partition, PartitionSpec, check_clients, even_sizes


@dataclass(frozen=True)
class IID(PartitionSpec):
    """Samples in random order, cut into parts of equal size (up to one sample)."""

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """``array_split(default_rng(seed).permutation(n), clients)``."""
        check_clients(clients, len(labels))
        order = np.random.default_rng(seed).permutation(len(labels))
        return Partition.cut(order, even_sizes(len(labels), clients))
