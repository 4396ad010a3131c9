"""Streams of cohorts: who takes part in which round, as a pure function of a seed."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.spec import Spec


class ParticipationSpec(Spec, ABC, field="participation"):
    """A spec that says which clients take part in each round, whatever comes of the rounds.

    An own one need not be a subclass: an object with ``cohorts``, or a function of its arguments,
    is one. If it has ``inclusion(clients, seed)`` as well, the probability of each client to be in
    a cohort, float64 [clients], algorithms can weigh by that. Where cohorts follow from what was
    trained, see `raydl.data.SelectorSpec`.
    """

    @abstractmethod
    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """The probability of each client to be drawn first, float64 [clients], summing to 1."""

    @abstractmethod
    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Distinct client ids, int64 [cohort], for round 0, round 1, and so on without end.

        A resumed run skips the rounds that are done.
        """


def check_fraction(fraction: float) -> None:
    """Raises a SpecError unless so many of all clients can take part."""
    require(0 < fraction <= 1, "participation.fraction", fraction, "in (0, 1]")


def cohort_size(fraction: float, clients: int) -> int:
    """The clients of a round (m), if they are a fraction of all: at least one."""
    return max(1, round(fraction * clients))
