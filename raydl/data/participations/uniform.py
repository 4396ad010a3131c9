"""Uniform participation: every cohort of a size is equally likely."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raydl.data.participations.participation import ParticipationSpec, check_fraction, cohort_size


@dataclass(frozen=True)
class Uniform(ParticipationSpec):
    """In each round the same fraction of the clients, all equally likely, without replacement.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
    """

    fraction: float = 0.1

    def __post_init__(self) -> None:
        check_fraction(self.fraction)

    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """1 / clients for each."""
        return np.full(clients, 1 / clients)

    def inclusion(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """The probability of each to be in a cohort, m / clients, float64 [clients]."""
        return np.full(clients, cohort_size(self.fraction, clients) / clients)

    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """``default_rng(seed).choice(clients, size, replace=False)``, one generator throughout."""
        rng = np.random.default_rng(seed)
        size = cohort_size(self.fraction, clients)
        while True:
            yield rng.choice(clients, size, replace=False)
