"""Few superclasses for each client, and all classes of each: Pachinko allocation."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    check_clients,
    check_labels,
    deal_samples,
    even_sizes,
)
from raydl.data.partitions.superclasses import check_superclasses, superclass_of


@dataclass(frozen=True)
class Pachinko(PartitionSpec):
    """Samples drawn by superclass, then by class, without replacement; clients of equal sizes.

    Client k draws θ ~ Dirichlet(alpha) over superclasses, and for each superclass s
    φₛ ~ Dirichlet(beta) over its classes. Each of its samples is of a superclass drawn from θ and
    of a class drawn from φₛ. A class without samples left is taken out of φₛ, a superclass without
    classes left out of θ, which are scaled to sum to one again; the clients that come last have
    what is left. W. Li, A. McCallum, "Pachinko Allocation", ICML 2006; S. Reddi et al., "Adaptive
    Federated Optimization", ICLR 2021, appendix F, where 500 clients share CIFAR-100.

    Args:
        alpha: concentration over superclasses; small for clients of few.
        beta: concentration over the classes of a superclass; large for nearly equal shares.
        superclasses: number of each class's superclass, from 0 on; CIFAR-100's 20 by default.
    """

    alpha: float = 0.1
    beta: float = 10.0
    superclasses: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require(self.alpha > 0, "partition.alpha", self.alpha, "above 0")
        require(self.beta > 0, "partition.beta", self.beta, "above 0")
        check_superclasses(self.superclasses)

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Has one client after another draw the classes of its samples."""
        check_labels(labels, "Pachinko")
        check_clients(clients, len(labels))
        classes, left = np.unique(labels, return_counts=True)
        of_class = superclass_of(classes, self.superclasses, "Pachinko")
        rng = np.random.default_rng(seed)
        counts = np.zeros((clients, len(classes)), np.int64)
        for client, size in enumerate(even_sizes(len(labels), clients)):
            coarse = rng.dirichlet(np.full(of_class.max() + 1, self.alpha))
            fine = np.empty(len(classes))
            for each in range(of_class.max() + 1):
                inside = of_class == each
                fine[inside] = rng.dirichlet(np.full(inside.sum(), self.beta))
            while (missing := size - counts[client].sum()) > 0:
                drawn = rng.choice(len(classes), missing, p=_joint(coarse, fine, of_class, left))
                taken = np.bincount(_until_one_is_out(drawn, left), minlength=len(classes))
                counts[client] += taken
                left -= taken
        return deal_samples(labels, counts, rng)


def _joint(
    coarse: npt.NDArray[np.float64],
    fine: npt.NDArray[np.float64],
    of_class: npt.NDArray[np.int64],
    left: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """The probability of each class, [classes], while so many samples of it are left."""
    least = np.finfo(np.float64).tiny  # of a share that was rounded to 0
    fine = np.where(left > 0, np.maximum(fine, least), 0)
    within = np.bincount(of_class, fine, len(coarse))
    coarse = np.where(within > 0, np.maximum(coarse, least), 0)
    shares = (coarse / coarse.sum() / np.where(within > 0, within, 1))[of_class] * fine
    return np.asarray(shares / shares.sum())


def _until_one_is_out(
    drawn: npt.NDArray[np.int64], left: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """The draws up to the one that takes the last sample of a class, after which odds change."""
    order = np.argsort(drawn, kind="stable")
    sizes = np.bincount(drawn, minlength=len(left))
    nth = np.empty(len(drawn), np.int64)  # how many of its class each draw is
    nth[order] = np.arange(len(drawn)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + 1
    last = np.flatnonzero(nth == left[drawn])
    return drawn[: last[0] + 1] if len(last) else drawn
