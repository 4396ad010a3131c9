"""A daily rhythm: clients are there for some hours of their day, which begins by time zone.

Phones train while they charge, on Wi-Fi and idle, so that most are there at their night: K.
Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys 2019; T. Yang et al.,
"Applied Federated Learning: Improving Google Keyboard Query Suggestions", 2018 (arXiv:1812.02903).
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.rng import fold_in
from raydl.data.participations.availability import Availability, Presence

_HOUR, _DAY = 3600.0, 86400.0  # seconds


@dataclass(frozen=True)
class Daily(Availability):
    """Of the clients that are there, some; each is there for some hours of its own day.

    The run begins at midnight of the first time zone.

    Args:
        start: hour of their day at which clients come, in the mean.
        hours: hours that each of them stays, every day.
        zones: time zones, around the whole day, of which each client is in one, all equally likely.
        spread: standard deviation of the hour at which a client comes, each every day at its own.
    """

    start: float = 22.0
    hours: float = 8.0
    zones: int = 24
    spread: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.start < 24, "participation.start", self.start, "in [0, 24)")
        require(0.001 <= self.hours <= 24, "participation.hours", self.hours, "in [0.001, 24]")
        require(self.zones >= 1, "participation.zones", self.zones, "1 or larger")
        require(0 <= self.spread < inf, "participation.spread", self.spread, "0 or larger")

    def presence(self, clients: int, seed: int) -> Presence:
        """The hours of clients whose zones and habits are drawn for a seed."""
        rng = np.random.default_rng(fold_in(seed, "availability"))
        zones = rng.integers(self.zones, size=clients) * (24 / self.zones)
        habits = self.start + self.spread * rng.standard_normal(clients)
        return _Hours(_HOUR * (habits - zones) % _DAY, _HOUR * self.hours)


class _Hours(Presence):
    """Clients that come at a second of the day, [clients], and stay for so long."""

    def __init__(self, come: npt.NDArray[np.float64], stay: float) -> None:
        self._come, self._stay = come, stay

    def there(self, second: float) -> npt.NDArray[np.bool_]:
        """Who came no longer ago than one stays."""
        present: npt.NDArray[np.bool_] = (second - self._come) % _DAY < self._stay
        return present

    def next_arrival(self, second: float) -> float:
        """When the next one comes."""
        return second + float(((self._come - second) % _DAY).min())
