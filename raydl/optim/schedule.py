"""Schedules: the factor on the learning rate, as a pure function of the step.

A step is a number or a tensor of any shape (also under ``torch.vmap``), counted from 0; the factor
is of the same kind. Each schedule can begin with a linear warm-up: of W steps, step k < W has
(k + 1) / (W + 1) of the rate, so that none is wasted at 0 and step W is the first at the full rate
(P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, section 2.2). After the last step the
factor stays what it has become.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import torch
from torch import Tensor

from raydl.core.errors import require
from raydl.core.spec import OneOf, Spec

Real: TypeAlias = float | Tensor
Schedule: TypeAlias = Callable[[Real], Real]  # step -> factor


class ScheduleSpec(Spec, ABC, field="schedule"):
    """The hyperparameters of a schedule: a frozen dataclass that builds the function."""

    @abstractmethod
    def build(self, total_steps: int) -> Schedule:
        """The factor at each step of a run of so many steps."""


@dataclass(frozen=True)
class Constant(ScheduleSpec):
    """The full rate throughout.

    Args:
        warmup: part of the run, in [0, 1), in which the rate rises linearly.
    """

    warmup: float = 0.0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)

    def build(self, total_steps: int) -> Schedule:
        """The factor at each step of a run of so many steps."""
        warm = _warmup_steps(self.warmup, total_steps)
        return lambda step: _rise(step, warm)


@dataclass(frozen=True)
class Cosine(ScheduleSpec):
    """From the full rate down along half a cosine.

    final + (1 − final) (1 + cos π p) / 2 at the part p of the run after the warm-up. I. Loshchilov,
    F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017.

    Args:
        warmup: part of the run, in [0, 1), in which the rate rises linearly.
        final: factor at the end.
    """

    warmup: float = 0.0
    final: float = 0.0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)
        require(0 <= self.final <= 1, "schedule.final", self.final, "in [0, 1]")

    def build(self, total_steps: int) -> Schedule:
        """The factor at each step of a run of so many steps."""
        warm = _warmup_steps(self.warmup, total_steps)

        def factor(step: Real) -> Real:
            wave = (1 + _cos(math.pi * _part(step, warm, total_steps))) / 2
            return _rise(step, warm) * (self.final + (1 - self.final) * wave)

        return factor


@dataclass(frozen=True)
class Polynomial(ScheduleSpec):
    """From the full rate down to 0 as (1 − p)ᵖᵒʷᵉʳ at the part p of the run after the warm-up.

    Args:
        warmup: part of the run, in [0, 1), in which the rate rises linearly.
        power: exponent of the decay: 1 is a straight line; 2 is what LARS was published with.
    """

    warmup: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)
        require(self.power > 0, "schedule.power", self.power, "above 0")

    def build(self, total_steps: int) -> Schedule:
        """The factor at each step of a run of so many steps."""
        warm = _warmup_steps(self.warmup, total_steps)

        def factor(step: Real) -> Real:
            return _rise(step, warm) * (1 - _part(step, warm, total_steps)) ** self.power

        return factor


@dataclass(frozen=True)
class Step(ScheduleSpec):
    """The rate is multiplied by gamma at each milestone.

    Args:
        warmup: part of the run, in [0, 1), in which the rate rises linearly.
        milestones: parts of the whole run, rising, in (0, 1).
        gamma: factor of each milestone.
    """

    warmup: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1

    def __post_init__(self) -> None:
        _check_warmup(self.warmup)
        rising = list(self.milestones) == sorted(set(self.milestones))
        within = all(0 < each < 1 for each in self.milestones)
        require(
            rising and within,
            "schedule.milestones",
            self.milestones,
            "parts of the run: rising, each in (0, 1)",
        )
        require(0 < self.gamma <= 1, "schedule.gamma", self.gamma, "in (0, 1]")

    def build(self, total_steps: int) -> Schedule:
        """The factor at each step of a run of so many steps."""
        warm = _warmup_steps(self.warmup, total_steps)
        drops = [round(each * total_steps) for each in self.milestones]

        def factor(step: Real) -> Real:
            return _rise(step, warm) * self.gamma ** sum(step >= drop for drop in drops)

        return factor


SCHEDULES = (Constant, Cosine, Polynomial, Step)  # that have a name on the command line

# What a field of a spec that holds a schedule is annotated with.
AnySchedule: TypeAlias = Annotated[ScheduleSpec, OneOf("build", *SCHEDULES)]


def _check_warmup(warmup: float) -> None:
    allowed = "a part of the run in [0, 1), shorter than the run"
    require(0 <= warmup < 1, "schedule.warmup", warmup, allowed)


def _warmup_steps(warmup: float, total_steps: int) -> int:
    """The steps below the full rate: at most all but the last."""
    require(total_steps >= 1, "the steps of a schedule", total_steps, "1 or larger")
    return min(round(warmup * total_steps), total_steps - 1)


def _rise(step: Real, warm: int) -> Real:
    return _clamp((step + 1) / (warm + 1))


def _part(step: Real, begin: int, end: int) -> Real:
    return _clamp((step - begin) / (end - begin))


def _clamp(x: Real) -> Real:
    """The nearest number in [0, 1]."""
    return x.clamp(0, 1) if isinstance(x, Tensor) else min(max(x, 0.0), 1.0)


def _cos(x: Real) -> Real:
    return torch.cos(x) if isinstance(x, Tensor) else math.cos(x)
