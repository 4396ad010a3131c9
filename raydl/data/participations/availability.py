"""Availability: clients that can take part only when they are there, whatever the reason.

Time is the virtual time of the run, where such is kept (``--runtime simulated``); elsewhere a round
takes so many minutes. Who has begun stays until it is done. Where nobody is there, the round waits
for the first to come.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.tree import Tree
from raydl.data.participations.participation import check_fraction, cohort_size
from raydl.data.participations.selector import Cohort, Moment, Selector, SelectorSpec, draws

_MOMENT = 1e-6  # seconds: rounding must not leave the run just before who is waited for


class Presence(ABC):
    """When the clients of a federation are there, in seconds since its run began."""

    @abstractmethod
    def there(self, second: float) -> npt.NDArray[np.bool_]:
        """Who is there, bool [clients]."""

    @abstractmethod
    def next_arrival(self, second: float) -> float:
        """When the next of those comes who are not there."""


@dataclass(frozen=True)
class Availability(SelectorSpec):
    """Of the clients that are there, some, all equally likely; fewer if not so many are there.

    Args:
        fraction: clients of a round as a fraction of all, there or not (C); at least one takes
            part.
        minutes: minutes that a round takes, where no virtual time is kept.
    """

    fraction: float = 0.1
    minutes: float = 60.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        require(0 < self.minutes < inf, "participation.minutes", self.minutes, "above 0")

    @abstractmethod
    def presence(self, clients: int, seed: int) -> Presence:
        """When so many clients are there."""

    def selector(self, sizes: npt.NDArray[np.int64], seed: int) -> Selector:
        """The selector for so many clients; its state is empty."""
        size, presence = cohort_size(self.fraction, len(sizes)), self.presence(len(sizes), seed)

        def opens(_state: Tree, moment: Moment) -> float:
            second = moment.round * 60 * self.minutes if moment.now is None else moment.now
            there = presence.there(second).any()
            return second if there else presence.next_arrival(second) + _MOMENT

        def choose(state: Tree, moment: Moment) -> Cohort:
            there = np.flatnonzero(presence.there(opens(state, moment)))
            rng = draws(seed, moment)
            return rng.choice(there, min(size, len(there)), replace=False)

        return Selector(init=dict, choose=choose, opens=opens)
