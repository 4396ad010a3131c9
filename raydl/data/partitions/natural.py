"""The clients that the data set itself names."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require
from raydl.data.partitions.partition import Partition, PartitionSpec


@dataclass(frozen=True)
class Natural(PartitionSpec):
    """Each sample belongs to the client that the data set says: a writer, a role, a device.

    A run that says nothing of clients has as many as there are owners.
    """

    def natural_clients(self, owners: npt.NDArray[np.int64]) -> int:
        """The number of distinct owners."""
        return len(np.unique(owners))

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
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
