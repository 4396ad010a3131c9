"""Partitions with a dial: how much the labels, or the sizes, differ from client to client."""

from dataclasses import dataclass

import numpy as np

from raydl.core.errors import SpecError, require
from raydl.core.spec import Spec
from raydl.data.partitions import Partition, check_clients, check_labels, even_sizes, ranges

_DRAWS = 100  # of a Dirichlet partition before it is given up, or fewer ...
_VARIATES = 20_000_000  # ... if they would draw more numbers than that
_SLACK = 1.1  # how far above its equal share Labels lets a client's size be


@dataclass(frozen=True)
class Labels(Spec, field="partition"):
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
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """Draws who holds which classes, then divides each class over its holders."""
        check_labels(labels, "Labels")
        check_clients(clients, len(labels))
        sizes = np.unique(labels, return_counts=True)[1]
        most = f"at most {len(sizes)}, the number of classes"
        require(self.per_client <= len(sizes), "partition.per_client", self.per_client, most)
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
        return _deal_samples(labels, trimmed, rng)


@dataclass(frozen=True)
class Dirichlet(Spec, field="partition"):
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
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
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
                return _deal_samples(labels, counts, rng)
            best = max(best, smallest)
        raise SpecError(
            f"partition.alpha is {self.alpha} and partition.min_size is {self.min_size}; in each "
            f"of {draws} draws for {clients} clients some client had fewer samples than that. "
            f"Try {self._advice(sizes, clients, best, rng)}"
        )

    def _draw(
        self, sizes: np.ndarray, clients: int, alpha: float, rng: np.random.Generator
    ) -> np.ndarray:
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

    def _advice(self, sizes: np.ndarray, clients: int, best: int, rng: np.random.Generator) -> str:
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


@dataclass(frozen=True)
class Quantity(Spec, field="partition"):
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
        self, labels: np.ndarray, clients: int, seed: int, owners: np.ndarray | None = None
    ) -> Partition:
        """Draws the sizes, then samples in random order to fill them."""
        check_clients(clients, len(labels))
        spare = len(labels) - self.min_size * clients
        most = f"at most {len(labels) // clients}: {len(labels)} samples for {clients} clients"
        require(spare >= 0, "partition.min_size", self.min_size, most)
        rng = np.random.default_rng(seed)
        quotas = spare * rng.dirichlet(np.full(clients, self.alpha))
        sizes = quotas.astype(np.int64)
        largest_remainders = np.argsort(sizes - quotas, kind="stable")[: spare - sizes.sum()]
        sizes[largest_remainders] += 1
        return Partition.cut(rng.permutation(len(labels)), self.min_size + sizes)


def _webster(weights: np.ndarray, most: np.ndarray, places: int) -> np.ndarray:
    """Places for each class in proportion to its weight: first one for each, and ``most`` at most.

    Place j of a class is worth weight / (j − ½); the dearest are handed out.
    """
    place = ranges(np.zeros_like(most), most)
    worth = np.where(place == 0, np.inf, np.repeat(weights, most) / (place + 0.5))
    taken = np.argsort(-worth, kind="stable")[:places]
    return np.bincount(np.repeat(np.arange(len(most)), most)[taken], minlength=len(most))


def _deal_classes(places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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


def _deal_samples(labels: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> Partition:
    """Gives client k ``counts[k, c]`` random samples of the c-th class, from [clients, classes]."""
    shuffled = rng.permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    sizes = np.unique(labels, return_counts=True)[1]
    starts = np.cumsum(sizes) - sizes + np.cumsum(counts, axis=0) - counts
    return Partition.cut(by_class[ranges(starts.ravel(), counts.ravel())], counts.sum(axis=1))
