"""How many local steps a round has: a constant, a schedule, or a rule that follows the training.

Few steps at first and more later save communication where it costs least: late in the training,
when the learning rate is low, the workers drift apart slowly.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, isnan, sqrt
from typing import Annotated, NamedTuple, TypeAlias

from raydl.core.errors import require
from raydl.core.spec import OneOf, Spec


class TrainingProgress(NamedTuple):
    """How far a run is.

    Attributes:
        step: local steps done by each worker.
        total: of the run; None if that is open.
        first_rate: the learning rate that it began with.
        rate: the learning rate now.
        first_loss: the mean training loss of the first round; NaN before there is one.
        loss: of the last round.
    """

    step: int
    total: int | None
    first_rate: float
    rate: float
    first_loss: float
    loss: float


Interval: TypeAlias = Callable[[TrainingProgress], int]  # -> local steps of the coming round


class IntervalSpec(Spec, ABC, field="algorithm.interval"):
    """A rule for the number of local steps of a round."""

    @abstractmethod
    def build(self, steps: int) -> Interval:
        """The rule over a usual number of local steps (J)."""


@dataclass(frozen=True)
class Fixed(IntervalSpec):
    """The same number of local steps in every round."""

    def build(self, steps: int) -> Interval:
        """Always J."""
        return lambda progress: steps


@dataclass(frozen=True)
class PostLocal(IntervalSpec):
    """Post-local SGD: synchronizes after every step at first, and after J steps from then on.

    T. Lin, S. Stich, K. Patel, M. Jaggi, "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020.

    Args:
        start: part of the run, in steps, that is over when local steps begin.
    """

    start: float = 0.5

    def __post_init__(self) -> None:
        require(0 <= self.start <= 1, "algorithm.interval.start", self.start, "in [0, 1]")

    def build(self, steps: int) -> Interval:
        """1, then J."""
        return lambda progress: 1 if progress.step < self.start * _total(progress) else steps


@dataclass(frozen=True)
class Growing(IntervalSpec):
    """J local steps at first, and a multiple of them after each milestone.

    Args:
        milestones: parts of the run, in steps, increasing in (0, 1).
        factor: factor by which the local steps grow at each milestone.
    """

    milestones: tuple[float, ...] = (0.5, 0.75)
    factor: float = 2.0

    def __post_init__(self) -> None:
        increasing = list(self.milestones) == sorted(set(self.milestones))
        require(
            increasing and all(0 < each < 1 for each in self.milestones),
            "algorithm.interval.milestones",
            self.milestones,
            "increasing, each above 0 and below 1",
        )
        require(self.factor > 0, "algorithm.interval.factor", self.factor, "above 0")

    def build(self, steps: int) -> Interval:
        """J · factor^(milestones passed), rounded, at least 1."""

        def interval(progress: TrainingProgress) -> int:
            passed = sum(progress.step >= each * _total(progress) for each in self.milestones)
            return max(1, round(steps * self.factor**passed))

        return interval


@dataclass(frozen=True)
class QSR(IntervalSpec):
    """The quadratic synchronization rule: as the learning rate η falls, max(J, ⌊(α / η)²⌋) steps.

    X. Gu, K. Lyu, S. Arora, J. Zhang, L. Huang, "A Quadratic Synchronization Rule for Distributed
    Deep Learning", ICLR 2024.

    Args:
        alpha: growth coefficient (α), a learning rate: below α / √J of it the rounds grow.
    """

    alpha: float = 0.2

    def __post_init__(self) -> None:
        require(self.alpha > 0, "algorithm.interval.alpha", self.alpha, "above 0")

    def build(self, steps: int) -> Interval:
        """As the rule says; at a rate of 0, one round to the end."""

        def interval(progress: TrainingProgress) -> int:
            longest = _total(progress)
            if progress.rate * sqrt(longest) <= self.alpha:
                return longest
            return max(steps, int((self.alpha / progress.rate) ** 2))

        return interval


@dataclass(frozen=True)
class AdaComm(IntervalSpec):
    """Adaptive communication: J · √(η₀ F / (η F₀)) steps, fewer as the training loss F falls.

    J. Wang, G. Joshi, "Adaptive Communication Strategies to Achieve the Best Error-Runtime
    Trade-off in Local-Update SGD", MLSys 2019: its rule for a variable learning rate, with the
    mean training loss of the last round for F.
    """

    def build(self, steps: int) -> Interval:
        """J in the first round, then as the rule says, at least 1."""

        def interval(progress: TrainingProgress) -> int:
            if isnan(progress.loss) or progress.rate == 0:
                return steps
            ratio = progress.first_rate / progress.rate * progress.loss / progress.first_loss
            return max(1, ceil(steps * sqrt(ratio)))

        return interval


AnyInterval: TypeAlias = Annotated[
    IntervalSpec, OneOf("build", Fixed, PostLocal, Growing, QSR, AdaComm)
]


def _total(progress: TrainingProgress) -> int:
    assert progress.total is not None
    return progress.total
