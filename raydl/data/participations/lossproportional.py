"""Loss-proportional selection: clients are drawn by the losses that they reported last.

    pₖ = ε / N + (1 − ε) Fₖᵃ / Σⱼ Fⱼᵃ,  drawn one after another without replacement

After J. Goetz, K. Malik, D. Bui, S. Moon, H. Liu, A. Kumar, "Active Federated Learning", 2019
(arXiv:1909.12641), who draw by a value that grows with a client's loss, and a part ε of the cohort
at random. Clients that never took part count as those with the largest loss that is known, so that
with equal losses, or a = 0, all are equally likely.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.tree import Tree
from raydl.data.participations.participation import check_fraction, cohort_size
from raydl.data.participations.selector import (
    Cohort,
    Moment,
    Selector,
    SelectorSpec,
    draws,
    remembering,
)


@dataclass(frozen=True)
class LossProportional(SelectorSpec):
    """Clients drawn by the losses that they reported when they last trained.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
        exponent: power of a loss that a client is drawn by (a); 0 draws all alike.
        explore: part of the probability that is the same for all clients (ε).
    """

    fraction: float = 0.1
    exponent: float = 1.0
    explore: float = 0.1

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        sound = 0 <= self.exponent < inf
        require(sound, "participation.exponent", self.exponent, "0 or larger")
        require(0 < self.explore <= 1, "participation.explore", self.explore, "in (0, 1]")

    def selector(self, sizes: npt.NDArray[np.int64], seed: int) -> Selector:
        """The selector for so many clients."""
        clients, size = len(sizes), cohort_size(self.fraction, len(sizes))

        def choose(state: Tree, moment: Moment) -> Cohort:
            rng = draws(seed, moment)
            drawn_by = self.probabilities(state["loss"].numpy())
            return rng.choice(clients, size, replace=False, p=drawn_by)

        return Selector(choose=choose, **remembering("loss", clients))

    def probabilities(self, losses: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The probability of each client to be drawn first, float64 [clients].

        Args:
            losses: that they reported last, [clients]; infinite of those who never did.
        """
        known = np.isfinite(losses)
        largest = losses[known].max() if known.any() else 1.0
        relative = np.where(known, losses, largest) / (largest if largest > 0 else 1.0)
        worth = np.maximum(relative, 0.0) ** self.exponent
        total = worth.sum()
        share = worth / total if total > 0 else np.full(len(losses), 1 / len(losses))
        return self.explore / len(losses) + (1 - self.explore) * share
