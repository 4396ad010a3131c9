"""A few neighbouring classes for each client, and sizes that differ by orders of magnitude."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    class_sizes,
    deal_samples,
    whole_parts,
)


@dataclass(frozen=True)
class PowerLaw(PartitionSpec):
    """Client k has the classes k, k + 1, ..., and as much of each as its size asks for.

    Classes are counted round, from the last one to the first. Sizes are lognormal: every client
    draws w ~ exp(N(0, σ²)), and has of each of its classes one sample and w / Σ w of the others,
    the sum over all who have that class. So T. Li et al., "Federated Optimization in Heterogeneous
    Networks", MLSys 2020, made FEMNIST and MNIST, of which 200 clients had five of ten classes and
    1,000 had two; their clients may share samples, these do not.

    Args:
        per_client: classes of each client.
        sigma: deviation of the logarithm of the sizes; 0 for equal ones.
    """

    per_client: int = 5
    sigma: float = 1.0

    def __post_init__(self) -> None:
        require(self.per_client >= 1, "partition.per_client", self.per_client, "1 or larger")
        require(self.sigma >= 0, "partition.sigma", self.sigma, "0 or larger")

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Draws the clients' weights, and divides each class over those who have it."""
        sizes = class_sizes(labels, clients, self.per_client, "PowerLaw")
        rng = np.random.default_rng(seed)
        weights = rng.lognormal(0, self.sigma, clients)
        first = np.arange(clients)[:, None]
        counts = np.zeros((clients, len(sizes)), np.int64)
        counts[first, (first + np.arange(self.per_client)) % len(sizes)] = 1
        for label, size in enumerate(sizes):
            holders = np.flatnonzero(counts[:, label])
            if len(holders) > size:
                raise SpecError(
                    f"partition.per_client is {self.per_client} with {clients} clients, of whom "
                    f"{len(holders)} have a class of {size} samples; take fewer of either"
                )
            if len(holders):
                others, own = int(size) - len(holders), weights[holders]
                counts[holders, label] += whole_parts(others * own / own.sum(), others)
        return deal_samples(labels, counts, rng)
