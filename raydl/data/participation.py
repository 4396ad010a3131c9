"""Who takes part in which round: endless streams of cohorts, pure functions of a seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.rng import fold_in
from raydl.core.spec import Spec


class ParticipationSpec(Spec, ABC, field="participation"):
    """A spec that says which clients take part in each round.

    An own one need not be a subclass: an object with ``cohorts``, or a function of its arguments,
    is one.
    """

    @abstractmethod
    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """The probability of each client to be drawn first, float64 [clients], summing to 1."""

    @abstractmethod
    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Distinct client ids, int64 [cohort], for round 0, round 1, and so on without end.

        A resumed run skips the rounds that are done with ``itertools.islice``.
        """


@dataclass(frozen=True)
class Uniform(ParticipationSpec):
    """In each round the same fraction of the clients, all equally likely, without replacement.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
    """

    fraction: float = 0.1

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)

    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """1 / clients for each."""
        return np.full(clients, 1 / clients)

    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """``default_rng(seed).choice(clients, size, replace=False)``, one generator throughout."""
        rng = np.random.default_rng(seed)
        size = _cohort_size(self.fraction, clients)
        while True:
            yield rng.choice(clients, size, replace=False)


@dataclass(frozen=True)
class Skewed(ParticipationSpec):
    """Some clients take part more often: their probabilities are drawn once from Dirichlet(gamma).

    A cohort is drawn one after another without replacement. A probability too small for a float64
    counts as the smallest one there is, so that such a client comes last but a cohort is always
    full.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
        gamma: concentration of the Dirichlet distribution (γ); smaller for more skew.
    """

    fraction: float = 0.1
    gamma: float = 0.5

    def __post_init__(self) -> None:
        _check_fraction(self.fraction)
        require(self.gamma > 0, "participation.gamma", self.gamma, "above 0")

    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """Drawn from a symmetric Dirichlet(gamma) distribution over the clients."""
        rng = np.random.default_rng(fold_in(seed, "participation"))
        drawn = rng.dirichlet(np.full(clients, self.gamma))
        return np.maximum(drawn, np.finfo(np.float64).tiny)

    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Clients drawn by their probabilities, in the order drawn."""
        rng = np.random.default_rng(seed)
        weights = self.probabilities(clients, seed)
        size = _cohort_size(self.fraction, clients)
        while True:
            yield rng.choice(clients, size, replace=False, p=weights)


def _check_fraction(fraction: float) -> None:
    require(0 < fraction <= 1, "participation.fraction", fraction, "in (0, 1]")


def _cohort_size(fraction: float, clients: int) -> int:
    return max(1, round(fraction * clients))
