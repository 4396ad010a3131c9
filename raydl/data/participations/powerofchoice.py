"""Power-of-Choice: of d candidates, the m with the largest losses take part.

    A: d clients drawn without replacement, by pₖ = nₖ / Σ n
    S: the m of A with the largest Fₖ(x)

Y. J. Cho, J. Wang, G. Joshi, "Towards Understanding Biased Client Selection in Federated Learning",
AISTATS 2022 (arXiv:2010.01243). Of its three, π_pow-d asks the candidates for their loss on all of
their samples; π_cpow-d on one minibatch; π_rpow-d asks nobody, and goes by the losses that clients
reported when they last trained, infinite of those who never did. With d = m it is sampling by nₖ,
with d = N greedy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from raydl.core.algorithm import Plan, Work
from raydl.core.errors import require
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
class PowerOfChoice(SelectorSpec):
    """Of some candidates, drawn by their samples, those with the largest losses.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
        candidates: clients that are drawn to choose from (d).
        variant: whose losses are compared: those of the server's parameters on all of a candidate's
            samples (pow-d) or on a minibatch of them (cpow-d), for which the candidates are asked;
            or those that they reported when they last trained (rpow-d).
        batch_size: samples of that minibatch.
    """

    fraction: float = 0.1
    candidates: int = 15
    variant: Literal["pow-d", "cpow-d", "rpow-d"] = "pow-d"
    batch_size: int = 10

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        require(self.candidates >= 1, "participation.candidates", self.candidates, "1 or larger")
        require(self.batch_size >= 1, "participation.batch_size", self.batch_size, "1 or larger")

    def selector(self, sizes: npt.NDArray[np.int64], seed: int) -> Selector:
        """The selector for clients of such sizes, int64 [clients].

        Raises:
            SpecError: unless there are as many candidates as take part, and no more than clients.
        """
        clients, size = len(sizes), cohort_size(self.fraction, len(sizes))
        within = size <= self.candidates <= clients
        allowed = f"{size} or larger, as many as take part, and at most {clients}, the clients"
        require(within, "participation.candidates", self.candidates, allowed)
        draw = _candidates(sizes / sizes.sum(), self.candidates, seed)
        if self.variant == "rpow-d":
            return Selector(
                choose=lambda state, moment: _largest(
                    drawn := draw(moment), state["loss"].numpy()[drawn], size
                ),
                **remembering("loss", clients),
            )
        plan = Plan(None if self.variant == "pow-d" else self.batch_size, steps=1)
        return Selector(
            init=dict,
            choose=lambda _, moment: _largest(
                moment.answers["client"].long().numpy(), moment.answers["loss"].numpy(), size
            ),
            poll=lambda _, moment: Work(moment.round, tuple(draw(moment).tolist()), plan),
        )


def _candidates(
    probabilities: npt.NDArray[np.float64], number: int, seed: int
) -> Callable[[Moment], Cohort]:
    def draw(moment: Moment) -> Cohort:
        rng = draws(seed, moment)
        return rng.choice(len(probabilities), number, replace=False, p=probabilities)

    return draw


def _largest(clients: Cohort, losses: npt.NDArray[np.float64], size: int) -> Cohort:
    """Those with the largest losses, of equal ones who was drawn first; NaN is the smallest."""
    falling = np.argsort(-np.nan_to_num(losses, nan=-np.inf, posinf=np.inf), kind="stable")
    return clients[falling[:size]]
