"""How fast the workers of virtual time are: each as a rule, and from one piece of work to the next.

A piece of work, the local steps between two messages, takes (local steps) × pace × factor seconds:
the pace is the worker's own, the factor is drawn anew for each piece.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import exp, inf, log
from statistics import NormalDist
from typing import Annotated, TypeAlias

from raydl.core.errors import SpecError, require
from raydl.core.spec import OneOf, Spec

_normal = NormalDist().inv_cdf


class ComputeTime(ABC):
    """A distribution of the workers' seconds."""

    @abstractmethod
    def pace(self, worker: int, uniform: float) -> float:
        """Seconds that a worker's local step takes as a rule, from a draw in (0, 1)."""

    @abstractmethod
    def factor(self, uniform: float) -> float:
        """Factor by which a piece of work takes longer than that, from a draw in (0, 1)."""

    def check(self, workers: int) -> None:  # noqa: B027
        """Raises a SpecError if these cannot be the speeds of so many workers."""


@dataclass(frozen=True)
class Lognormal(Spec, ComputeTime, field="runtime.speed"):
    """Paces and factors that are lognormal; all alike, unless they are made to vary.

    Args:
        seconds: seconds of a local step, in the median.
        spread: standard deviation σ of the logarithm of the workers' paces; 0 makes them equal.
        jitter: standard deviation σ of the logarithm of the factors; 0 makes a worker's pieces of
            work equal.
    """

    seconds: float = 0.1
    spread: float = 0.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        _check_seconds(self.seconds)
        for name in ("spread", "jitter"):
            sigma = getattr(self, name)
            require(0 <= sigma < inf, f"runtime.speed.{name}", sigma, "0 or larger")

    def pace(self, worker: int, uniform: float) -> float:
        """The median times exp(σ z), z standard normal."""
        return self.seconds * exp(self.spread * _normal(uniform))

    def factor(self, uniform: float) -> float:
        """exp(σ z), z standard normal."""
        return exp(self.jitter * _normal(uniform))


@dataclass(frozen=True)
class Exponential(Spec, ComputeTime, field="runtime.speed"):
    """Equal paces, and factors that are exponential with mean 1.

    Args:
        seconds: seconds of a local step, in the mean.
    """

    seconds: float = 0.1

    def __post_init__(self) -> None:
        _check_seconds(self.seconds)

    def pace(self, worker: int, uniform: float) -> float:
        """The mean."""
        return self.seconds

    def factor(self, uniform: float) -> float:
        """−log u."""
        return -log(uniform)


@dataclass(frozen=True)
class Measured(Spec, ComputeTime, field="runtime.speed"):
    """Paces as they are given, for example as they were measured; each piece of work takes that.

    Args:
        seconds: seconds of a local step of worker 0, worker 1, and so on.
    """

    seconds: tuple[float, ...]

    def __post_init__(self) -> None:
        for each in self.seconds:
            _check_seconds(each)

    def pace(self, worker: int, uniform: float) -> float:
        """What is given for the worker."""
        return self.seconds[worker]

    def factor(self, uniform: float) -> float:
        """1."""
        return 1.0

    def check(self, workers: int) -> None:
        """Raises a SpecError unless there is a pace for each worker."""
        if len(self.seconds) != workers:
            raise SpecError(
                f"runtime.speed.seconds holds {len(self.seconds)} numbers; it must hold one for "
                f"each of the {workers} workers or clients"
            )


AnyComputeTime: TypeAlias = Annotated[ComputeTime, OneOf("pace", Lognormal, Exponential, Measured)]


def _check_seconds(seconds: float) -> None:
    require(0 < seconds < inf, "runtime.speed.seconds", seconds, "above 0")
