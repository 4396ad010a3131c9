"""Skewed participation: each client has a probability of its own, and cohorts are drawn by it.

How probable it is that client k is in a cohort (its inclusion probability πₖ) depends on how the
cohort is drawn from the probabilities pₖ:

- successively, one after another without replacement: as the m first to arrive of clients whose
  times are exponential with the rates pₖ (P. Efraimidis, P. Spirakis, "Weighted Random Sampling
  with a Reservoir", 2006), so that πₖ = E[1 − exp(−pₖ T₋ₖ)], T₋ₖ being when the m-th of the others
  arrives. The mean over seeded draws of T₋ₖ has no bias, and is positive however small pₖ is;
- with replacement, a client that is drawn again taking part once: πₖ = 1 − (1 − pₖ)ᵐ;
- each by itself (Poisson sampling; J. Hájek, "Asymptotic Theory of Rejective Sampling", 1964): with
  the probability qₖ = min(1, c pₖ), c such that Σ qₖ = m; a cohort of nobody is drawn again, so
  that πₖ = qₖ / (1 − Πⱼ (1 − qⱼ)).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from raydl.core.errors import require
from raydl.core.rng import fold_in
from raydl.data.participations.participation import ParticipationSpec, check_fraction, cohort_size

_DRAWS = 2e7  # exponential times behind the inclusion probabilities of successive sampling
_FEWEST, _MOST = 400, 10_000  # cohorts that they are of


@dataclass(frozen=True)
class Skewed(ParticipationSpec):
    """Some clients take part more often: their probabilities are drawn once from Dirichlet(gamma).

    A probability too small for a float64 counts as the smallest one there is, so that such a client
    comes last but a cohort that is drawn successively is always full.

    Args:
        fraction: clients of a round as a fraction of all (C); at least one takes part.
        gamma: concentration of the Dirichlet distribution (γ); smaller for more skew.
        sampling: whether a cohort is drawn one after another without replacement (successive); with
            replacement, who is drawn again taking part once (replacement); or each client by itself
            (poisson), so that cohorts are of that size in the mean. Of the last two it is known
            exactly how probable each client is to take part.
    """

    fraction: float = 0.1
    gamma: float = 0.5
    sampling: Literal["successive", "replacement", "poisson"] = "successive"

    def __post_init__(self) -> None:
        check_fraction(self.fraction)
        require(self.gamma > 0, "participation.gamma", self.gamma, "above 0")

    def probabilities(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """Drawn from a symmetric Dirichlet(gamma) distribution over the clients."""
        rng = np.random.default_rng(fold_in(seed, "participation"))
        drawn = rng.dirichlet(np.full(clients, self.gamma))
        return np.maximum(drawn, np.finfo(np.float64).tiny)

    def inclusion(self, clients: int, seed: int) -> npt.NDArray[np.float64]:
        """The probability of each to be in a cohort, float64 [clients]."""
        weights, size = self.probabilities(clients, seed), cohort_size(self.fraction, clients)
        if self.sampling == "replacement":
            return replacement_inclusion(weights, size)
        if self.sampling == "poisson":
            each = poisson_probabilities(weights, size)
            return each / -np.expm1(np.log1p(-each).sum()) if (each < 1).all() else each
        return successive_inclusion(weights, size, fold_in(seed, "inclusion"))

    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """Clients drawn by their probabilities, in the order drawn; if by themselves, in theirs."""
        rng = np.random.default_rng(seed)
        weights, size = self.probabilities(clients, seed), cohort_size(self.fraction, clients)
        each = poisson_probabilities(weights, size)
        while True:
            if self.sampling == "successive":
                yield rng.choice(clients, size, replace=False, p=weights)
            elif self.sampling == "replacement":
                drawn = rng.choice(clients, size, p=weights)
                yield drawn[np.sort(np.unique(drawn, return_index=True)[1])]
            elif (present := rng.random(clients) < each).any():
                yield np.flatnonzero(present)


def successive_inclusion(
    weights: npt.NDArray[np.float64], size: int, seed: int
) -> npt.NDArray[np.float64]:
    """Estimates πₖ of successive sampling without replacement, float64 [clients].

    Args:
        weights: pₖ, [clients].
        size: of a cohort (m).
        seed: of the draws.
    """
    clients = len(weights)
    if size == clients:
        return np.ones(clients)
    rng = np.random.default_rng(seed)
    draws = int(min(max(_FEWEST, _DRAWS / clients), _MOST))
    total = np.zeros(clients)
    for _ in range(draws):
        times = rng.standard_exponential(clients) / weights
        last, after = np.partition(times, (size - 1, size))[size - 1 : size + 1]
        others = np.where(times <= last, after, last)  # when the m-th of the others arrives
        total -= np.expm1(-weights * others)
    return total / draws


def replacement_inclusion(weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """πₖ of so many draws with replacement, float64 [clients]: 1 − (1 − pₖ)ᵐ."""
    with np.errstate(divide="ignore"):  # of a client that alone is drawn
        never: npt.NDArray[np.float64] = size * np.log1p(-np.minimum(weights, 1.0))
    return -np.expm1(never)


def poisson_probabilities(weights: npt.NDArray[np.float64], size: int) -> npt.NDArray[np.float64]:
    """The probabilities qₖ = min(1, c pₖ) whose sum is the size of a cohort, float64 [clients]."""
    certain = np.zeros(len(weights), bool)
    while True:
        left = size - certain.sum()
        rest = weights[~certain].sum()
        each = np.where(certain, 1.0, weights * (left / rest) if rest else 0.0)
        if (each <= 1).all():
            return each
        certain |= each > 1
