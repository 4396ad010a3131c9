"""Client sizes drawn from a Dirichlet distribution."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    check_clients,
    whole_parts,
)


@dataclass(frozen=True)
class QuantitySkew(PartitionSpec):
    """Client sizes that differ, labels that do not: sizes drawn from Dirichlet(alpha).

    Each client has ``min_size`` samples; the rest is divided by the proportions drawn. Q. Li et
    al., "Federated Learning on Non-IID Data Silos", ICDE 2022.

    Args:
        alpha: concentration; small for sizes that differ much, large for nearly equal ones.
        min_size: samples that each client has at least.
    """

    alpha: float = 0.5
    min_size: int = 1

    def __post_init__(self) -> None:
        require(self.alpha > 0, "partition.alpha", self.alpha, "above 0")
        require(self.min_size >= 1, "partition.min_size", self.min_size, "1 or larger")

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Draws the sizes, then samples in random order to fill them."""
        check_clients(clients, len(labels))
        spare = len(labels) - self.min_size * clients
        most = f"at most {len(labels) // clients}: {len(labels)} samples for {clients} clients"
        require(spare >= 0, "partition.min_size", self.min_size, most)
        rng = np.random.default_rng(seed)
        quotas = spare * rng.dirichlet(np.full(clients, self.alpha))
        sizes = self.min_size + whole_parts(quotas, spare)
        return Partition.cut(rng.permutation(len(labels)), sizes)
