"""A superclass for each client, mixed with samples of all classes."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    check_clients,
    check_labels,
    even_sizes,
)
from raydl.data.partitions.superclasses import check_superclasses, superclass_of


@dataclass(frozen=True)
class Mixed(PartitionSpec):
    """Each client has samples of one superclass, and a share of samples of any.

    Of all samples a fraction ``iid`` is dealt out at random. The others are divided by superclass,
    each of which has as many of the clients as its number of samples asks for, at least one, and
    they have equal parts of it. At ``iid`` 0 clients of different superclasses have no class in
    common. The mixture is that of S. P. Karimireddy et al., "SCAFFOLD", ICML 2020, where samples
    are sorted by class.

    Args:
        iid: fraction of the samples that are dealt out at random, in [0, 1].
        superclasses: number of each class's superclass, from 0 on; CIFAR-100's 20 by default.
    """

    iid: float = 0.0
    superclasses: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        require(0 <= self.iid <= 1, "partition.iid", self.iid, "a fraction in [0, 1]")
        check_superclasses(self.superclasses)

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Deals some samples out at random, and divides the others by superclass."""
        check_labels(labels, "Mixed")
        check_clients(clients, len(labels))
        classes, which = np.unique(labels, return_inverse=True)
        group = superclass_of(classes, self.superclasses, "Mixed")[which]
        rng = np.random.default_rng(seed)
        order = rng.permutation(len(labels))
        shared, own = np.split(order, [round(self.iid * len(labels))])
        groups, sizes = np.unique(group[own], return_counts=True)
        if len(own) and not len(groups) <= clients <= len(own):
            raise SpecError(
                f"clients is {clients}; it must be {len(groups)} or more, one for each superclass "
                f"at least, and {len(own)} or fewer, the samples that are divided by them"
            )
        client = np.empty(len(labels), np.int64)
        client[shared] = np.repeat(rng.permutation(clients), even_sizes(len(shared), clients))
        first = 0
        for each, many in zip(groups, _shares(sizes, clients), strict=True):
            inside = own[group[own] == each]
            client[inside] = first + np.repeat(np.arange(many), even_sizes(len(inside), many))
            first += many
        client = rng.permutation(clients)[client]
        counts = np.bincount(client, minlength=clients)
        return Partition.cut(order[np.argsort(client[order], kind="stable")], counts)


def _shares(sizes: npt.NDArray[np.int64], clients: int) -> npt.NDArray[np.int64]:
    """How many of the clients each superclass has: one, and the others to where most is left."""
    shares = np.minimum(np.ones_like(sizes), clients)
    for _ in range(clients - shares.sum() if len(sizes) else 0):
        shares[np.argmax(np.where(shares < sizes, sizes / shares, 0))] += 1
    return shares
