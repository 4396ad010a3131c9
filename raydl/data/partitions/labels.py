"""The same number of classes for each client."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.data.partitions.partition import (
    Partition,
    PartitionSpec,
    class_sizes,
    deal_samples,
    even_sizes,
    ranges,
)

_SLACK = 1.1  # how far above its equal share Labels lets a client's size be


@dataclass(frozen=True)
class ClassesPerClient(PartitionSpec):
    """The same number of classes for each client, with approximately equal client sizes.

    The places that clients have for classes are handed out in proportion to the classes' sizes
    (Webster's method), at least one to each class while they last. A class is divided evenly over
    the clients that hold it. Where few places make that uneven, no client gets more than 1.1 times
    its equal share, and the samples beyond are not used.

    Args:
        per_client: classes of each client (N_c).
    """

    per_client: int = 5

    def __post_init__(self) -> None:
        require(self.per_client >= 1, "partition.per_client", self.per_client, "1 or larger")

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """Draws who holds which classes, then divides each class over its holders."""
        sizes = class_sizes(labels, clients, self.per_client, "Labels")
        most = f"at most {np.minimum(sizes, clients).sum() // clients} with {clients} clients"
        places = self.per_client * clients
        enough = places <= np.minimum(sizes, clients).sum()
        require(enough, "partition.per_client", self.per_client, f"{most}: samples do not go round")

        rng = np.random.default_rng(seed)
        order = rng.permutation(len(sizes))
        holders = _webster(sizes[order], np.minimum(sizes[order], clients), places)
        held = _deal_classes(np.repeat(order, holders).reshape(-1, clients), rng)
        counts = np.zeros((clients, len(sizes)), np.int64)
        for label in order[holders > 0]:
            those = rng.permutation(np.flatnonzero((held == label).any(axis=0)))
            smallest_first = those[np.argsort(counts[those].sum(axis=1), kind="stable")]
            counts[smallest_first, label] = even_sizes(sizes[label], len(those))
        limit = np.ceil(_SLACK * len(labels) / clients)
        kept = np.minimum(1, limit / counts.sum(axis=1, keepdims=True))
        trimmed = np.maximum(np.floor(counts * kept), counts > 0).astype(np.int64)
        return deal_samples(labels, trimmed, rng)


def _webster(
    weights: npt.NDArray[np.int64], most: npt.NDArray[np.int64], places: int
) -> npt.NDArray[np.int64]:
    """Places for each class in proportion to its weight: first one for each, and ``most`` at most.

    Place j of a class is worth weight / (j − ½); the dearest are handed out.
    """
    place = ranges(np.zeros_like(most), most)
    worth = np.where(place == 0, np.inf, np.repeat(weights, most) / (place + 0.5))
    taken = np.argsort(-worth, kind="stable")[:places]
    return np.bincount(np.repeat(np.arange(len(most)), most)[taken], minlength=len(most))


def _deal_classes(places: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Permutes each row of classes [per_client, clients], so that no client has a class twice.

    The places come sorted by class and no class has more than there are clients, so it can only
    occur twice in a client's column by running over from one row into the next.
    """
    held = np.empty_like(places)
    previous = np.full(places.shape[1], -1)
    for row, classes in enumerate(places):
        first = np.count_nonzero(classes == classes[0])
        order = rng.permutation(len(classes))
        had_it = previous[order] == classes[0]
        order = order[np.argsort(had_it, kind="stable")]
        order[first:] = rng.permutation(order[first:])
        held[row, order] = classes
        previous = held[row]
    return held
