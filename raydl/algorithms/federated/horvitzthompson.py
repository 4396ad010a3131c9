"""FedAvg whose average has no bias, however often which client takes part.

    wₖ ← SGD from x on client k's own samples
    x ← x + ηₛ Σₖ (pₖ / πₖ) (wₖ − x),  pₖ = nₖ / n of all N clients

where the sum is over the cohort and πₖ is the probability of client k to be in one, so that the
mean of the step over all cohorts is that of everybody taking part. D. Horvitz, D. Thompson, "A
Generalization of Sampling Without Replacement from a Finite Universe", JASA 1952; in federated
learning W. Chen, S. Horváth, P. Richtárik, "Optimal Client Sampling for Federated Learning", TMLR
2022. Normalized, the sum is divided by Σₖ pₖ / πₖ (J. Hájek, 1971): a small bias for a step that
varies less, and never is much longer than a client's.

Buffers, such as running statistics, are no parameters: x takes their normalized mean.
"""

from dataclasses import dataclass

import torch

from raydl.algorithms.federated.fedavg import FedAvg
from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Accumulator,
    Algorithm,
    Reduce,
    Reduced,
    Scope,
    Update,
)
from raydl.core.errors import SpecError
from raydl.core.reduce import total


@dataclass(frozen=True)
class HorvitzThompson(FedAvg):
    """FedAvg without a bias towards clients that take part more often, such as with Skewed.

    Args:
        normalized: whether the clients' weights are made to add up to 1.
    """

    normalized: bool = False

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters.

        Raises:
            SpecError: unless it is known how probable it is for each client to take part.
        """
        if scope.sizes is None or scope.inclusion is None:
            raise SpecError(
                f"{type(self).__name__} weighs clients by the probability that they take part, "
                "which is not known here; choose --participation Uniform or Skewed, or an own one "
                "with inclusion(clients, seed)"
            )
        share, inclusion = scope.sizes.double() / scope.sizes.sum(), scope.inclusion()
        if not (inclusion > 0).all():
            never = int((inclusion <= 0).nonzero()[0])
            raise SpecError(
                f"{type(self).__name__} weighs clients by one over the probability that they take "
                f"part, but client {never} never does; choose another --participation"
            )
        weights = (share / inclusion).tolist()
        return super().build(scope)._replace(reduce=_weighted(weights, self.normalized))


def _weighted(weights: list[float], normalized: bool) -> Reduce:  # noqa: FBT001
    """The sum of the messages times their clients' weights; of the buffers the weighted mean."""
    plain = total()

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        weight = weights[update.client]
        message = update.message | {"weight": torch.ones((), dtype=torch.float64)}
        return plain.add(accumulator, update._replace(message=tree.scale(message, weight)))

    def result(accumulator: Accumulator) -> Reduced:
        sums = plain.result(accumulator)
        if tree.is_empty(sums):
            return sums
        per_weight = 1 / float(sums["weight"])
        return {
            "delta": tree.scale(sums["delta"], per_weight) if normalized else sums["delta"],
            "buffers": tree.scale(sums["buffers"], per_weight),
        }

    return plain._replace(add=add, result=result, stacked=None)
