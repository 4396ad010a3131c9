"""Partitions with a dial: how much the labels, or the sizes, differ from client to client."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    check_clients,
    check_labels,
    deal_samples,
)

_DRAWS = 100  # of a Dirichlet partition before it is given up, or fewer ...
_VARIATES = 20_000_000  # ... if they would draw more numbers than that


@dataclass(frozen=True)
class Dirichlet(PartitionSpec):
    """Each class divided over the clients by proportions drawn from Dirichlet(alpha).

    Drawn anew until every client has ``min_size`` samples. M. Yurochkin et al., "Bayesian
    Nonparametric Federated Learning of Neural Networks", ICML 2019; the cap and the minimum are
    those of Q. Li et al., "Federated Learning on Non-IID Data Silos", ICDE 2022.

    Args:
        alpha: concentration; small for clients that differ much, large for nearly iid.
        min_size: samples that each client has at least.
        cap: whether a client that has its equal share n/N gets nothing of the classes that follow.
    """

    alpha: float = 0.1
    min_size: int = 10
    cap: bool = True

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
        """Draws proportions until they do, then divides the samples."""
        check_labels(labels, "Dirichlet")
        check_clients(clients, len(labels))
        most = f"at most {len(labels) // clients}: {len(labels)} samples for {clients} clients"
        enough = self.min_size * clients <= len(labels)
        require(enough, "partition.min_size", self.min_size, most)

        rng = np.random.default_rng(seed)
        sizes = np.unique(labels, return_counts=True)[1]
        draws = max(10, min(_DRAWS, _VARIATES // (clients * len(sizes))))
        best = 0
        for _ in range(draws):
            counts = self._draw(sizes, clients, self.alpha, rng)
            smallest = int(counts.sum(axis=1).min())
            if smallest >= self.min_size:
                return deal_samples(labels, counts, rng)
            best = max(best, smallest)
        raise SpecError(
            f"partition.alpha is {self.alpha} and partition.min_size is {self.min_size}; in each "
            f"of {draws} draws for {clients} clients some client had fewer samples than that. "
            f"Try {self._advice(sizes, clients, best, rng)}"
        )

    def _draw(
        self, sizes: npt.NDArray[np.int64], clients: int, alpha: float, rng: np.random.Generator
    ) -> npt.NDArray[np.int64]:
        """How many samples each client gets of each class, int64 [clients, classes]."""
        counts = np.zeros((clients, len(sizes)), np.int64)
        totals = np.zeros(clients, np.int64)
        share = sizes.sum() / clients
        for label, size in enumerate(sizes):
            # Dirichlet proportions without those of full clients, scaled to sum to one, are
            # Dirichlet over the others.
            takers = np.flatnonzero(totals < share) if self.cap else np.arange(clients)
            cuts = np.cumsum(rng.dirichlet(np.full(len(takers), alpha))) * size
            cuts[-1] = size
            counts[takers, label] = np.diff(cuts.astype(np.int64), prepend=0)
            totals += counts[:, label]
        return counts

    def _advice(
        self, sizes: npt.NDArray[np.int64], clients: int, best: int, rng: np.random.Generator
    ) -> str:
        """Settings near the given ones that would do."""
        advice = [f"min_size {best}"] if best else []
        nearest = (0, self.alpha)
        for alpha in self.alpha * 2.0 ** np.arange(1, 11):
            smallest = int(self._draw(sizes, clients, alpha, rng).sum(axis=1).min())
            if smallest >= self.min_size:
                advice.append(f"alpha {alpha:g}")
                break
            nearest = max(nearest, (smallest, alpha))
        else:
            advice.append(f"alpha {nearest[1]:g} with min_size {nearest[0]}")
        return ", or ".join([*advice, "fewer clients"])
