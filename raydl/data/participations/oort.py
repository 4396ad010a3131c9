"""Oort: clients are chosen by what their samples and their speed are worth, and some at random.

The statistical utility of client k is Uₖ = nₖ Fₖ, with its mean training loss Fₖ. (The paper has
the root of the mean squared loss of samples, which is Fₖ where these are alike.) A client that has
taken part, last in round Lₖ, is worth in round R

    ((min(Uₖ, q) − .999 min U) / (q − .999 min U) + √(.1 ln R / Lₖ)) · (T / tₖ)ᵅ [where tₖ > T]

with q a quantile of all U, tₖ the seconds that it took, and T a quantile of those. A pacer gives
slower clients a chance, by a larger T, once the utility that is made use of changes little, and
goes back where that changes much. Of a cohort of m, (1 − ε) m are drawn by their worth from those
who come near the (1 − ε) m-th best, and ε m by their samples from those who never took part.

F. Lai, X. Zhu, H. V. Madhyastha, M. Chowdhury, "Oort: Efficient Federated Learning via Guided
Participant Selection", OSDI 2021, with the pacer of its code. Its over-selection is the
consistency's: ``--runtime simulated --runtime.consistency.over 0.1``.
"""

from dataclasses import dataclass
from math import exp, inf, log
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch

from raydl.core.errors import require
from raydl.core.rng import uniform
from raydl.core.tree import Tree
from raydl.data.participations.participation import check_fraction, cohort_size
from raydl.data.participations.selector import (
    Cohort,
    Columns,
    Moment,
    Selector,
    SelectorSpec,
    draws,
    reported,
)

_WINDOW = 5  # times as many as are drawn, of those who never took part
_LITTLE, _MUCH = 0.1, 5.0  # changes of the utility that the pacer acts on
_QUANTILE_STEP = 0.05  # of the pacer


@dataclass(frozen=True)
class Oort(SelectorSpec):
    """Clients chosen by the loss of their samples, their speed, and how long ago they took part.

    How long a client takes is known in virtual time (``--runtime simulated``); elsewhere its local
    steps count, times a pace that is drawn for it: measured seconds would make no run repeatable.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
        explore: part of the first cohort that is of clients who never took part (ε).
        decay: factor on that from round to round.
        least: part that it does not fall below.
        cutoff: part of the worth of the last who would be chosen by it alone, from which on clients
            are drawn by theirs.
        penalty: exponent on the worth of clients slower than is preferred (α); 0 for none.
        clip: quantile that the utilities are clipped at.
        pacer: rounds from one adjustment of the preferred duration to the next.
        spread: standard deviation σ of the logarithm of the clients' paces, where no virtual time
            is kept; 0 makes them equal.
    """

    fraction: float = 0.1
    explore: float = 0.9
    decay: float = 0.98
    least: float = 0.2
    cutoff: float = 0.95
    penalty: float = 2.0
    clip: float = 0.95
    pacer: int = 20
    spread: float = 0.0

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        for name in ("explore", "least"):
            value = getattr(self, name)
            require(0 <= value <= 1, f"participation.{name}", value, "in [0, 1]")
        for name in ("decay", "cutoff", "clip"):
            value = getattr(self, name)
            require(0 < value <= 1, f"participation.{name}", value, "in (0, 1]")
        for name in ("penalty", "spread"):
            value = getattr(self, name)
            require(0 <= value < inf, f"participation.{name}", value, "0 or larger")
        require(self.pacer >= 1, "participation.pacer", self.pacer, "1 or larger")

    def selector(self, sizes: npt.NDArray[np.int64], seed: int) -> Selector:
        """The selector for clients of such sizes, int64 [clients].

        Its state is of each client the last ``utility`` and ``seconds``, and ``last``, the round it
        took part in, from 1 (0 for never); the pacer's ``quantile``, and ``used``, the utility made
        use of in this and in the former of its windows.
        """
        clients, size = len(sizes), cohort_size(self.fraction, len(sizes))
        pace = self._paces(clients, seed)

        def init() -> Tree:
            return {
                "utility": torch.zeros(clients, dtype=torch.float64),
                "seconds": torch.zeros(clients, dtype=torch.float64),
                "last": torch.zeros(clients, dtype=torch.int64),
                "quantile": torch.tensor(2 * _QUANTILE_STEP, dtype=torch.float64),
                "used": torch.zeros(2, dtype=torch.float64),
            }

        def choose(state: Tree, moment: Moment) -> Cohort:
            rng = draws(seed, moment)
            taken = state["last"].numpy() > 0
            tried, unseen = np.flatnonzero(taken), np.flatnonzero(~taken)
            part = max(self.least, self.explore * self.decay**moment.round)
            new = min(len(unseen), max(round(part * size), size - len(tried)))
            worth = self.worth(state, moment.round)
            return np.concatenate(
                [
                    _exploit(tried, worth[tried], size - new, self.cutoff, rng),
                    _explore(unseen, sizes[unseen], new, rng),
                ]
            )

        def told(state: Tree, moment: Moment, columns: Columns) -> Tree:
            utility, seconds, last = (
                state[name].numpy().copy() for name in ("utility", "seconds", "last")
            )
            who, losses = reported(columns, "loss")
            utility[who] = sizes[who] * losses
            last[who] = moment.round + 1
            everyone = columns["client"].long().numpy()
            steps = columns["steps"].numpy()
            seconds[everyone] = columns.get("seconds", torch.from_numpy(steps * pace[everyone]))
            now, before = state["used"].tolist()
            now += float(utility[who].sum())
            quantile = float(state["quantile"])
            if (moment.round + 1) % self.pacer == 0:
                quantile = _pace(quantile, now, before)
                now, before = 0.0, now
            return {
                "utility": torch.from_numpy(utility),
                "seconds": torch.from_numpy(seconds),
                "last": torch.from_numpy(last),
                "quantile": torch.tensor(quantile, dtype=torch.float64),
                "used": torch.tensor([now, before], dtype=torch.float64),
            }

        return Selector(init, choose, told, needs=frozenset({"loss"}))

    def _paces(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """What a local step of each client takes, in the median 1; as virtual time draws it."""
        if self.spread == 0:
            return np.ones(clients)
        normal = NormalDist().inv_cdf
        drawn = (uniform(seed, "pace", client) for client in range(clients))
        return np.array([exp(self.spread * normal(each)) for each in drawn])

    def worth(self, state: Tree, number: int) -> npt.NDArray[np.float64]:
        """What each client is worth in a round, float64 [clients]; 0 of who never took part.

        Args:
            state: the selector's.
            number: of the round, from 0.
        """
        utility, seconds, last = (state[name].numpy() for name in ("utility", "seconds", "last"))
        tried, worth = last > 0, np.zeros(len(last))
        if not tried.any():
            return worth
        own = np.minimum(utility[tried], np.quantile(utility[tried], self.clip))
        low = 0.999 * own.min()
        scale = own.max() - low
        fresh = np.sqrt(0.1 * log(number + 1) / last[tried])
        worth[tried] = ((own - low) / scale if scale > 0 else 1.0) + fresh
        preferred = np.quantile(seconds[tried], float(state["quantile"]))
        slow = tried & (seconds > preferred)
        worth[slow] *= (preferred / seconds[slow]) ** self.penalty
        return worth


def _exploit(
    clients: Cohort,
    worth: npt.NDArray[np.float64],
    size: int,
    cutoff: float,
    rng: np.random.Generator,
) -> Cohort:
    """So many of the clients, by their worth, of those who come near the last of the best."""
    if size == 0:
        return clients[:0]
    least = cutoff * np.partition(worth, -size)[-size]
    near = worth >= least
    weights = np.maximum(worth[near], np.finfo(np.float64).tiny)
    return rng.choice(clients[near], size, replace=False, p=weights / weights.sum())


def _explore(
    clients: Cohort, sizes: npt.NDArray[np.int64], size: int, rng: np.random.Generator
) -> Cohort:
    """So many of the clients, by their samples, of some times as many who have the most."""
    if size == 0:
        return clients[:0]
    shuffled = rng.permutation(len(clients))  # of equal ones no number comes first
    most = shuffled[np.argsort(-sizes[shuffled], kind="stable")][: _WINDOW * size]
    return rng.choice(clients[most], size, replace=False, p=sizes[most] / sizes[most].sum())


def _pace(quantile: float, now: float, before: float) -> float:
    """The quantile of the durations that is preferred next, as the utility of two windows says."""
    change = abs(now - before)
    if change <= _LITTLE * before:
        return min(1.0, quantile + _QUANTILE_STEP)
    if before > 0 and change >= _MUCH * before:
        return max(_QUANTILE_STEP, quantile - _QUANTILE_STEP)
    return quantile
