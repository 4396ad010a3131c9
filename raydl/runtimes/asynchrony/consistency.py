"""Consistency: how many updates make a step of the server, and how far workers may drift apart."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf
from typing import Annotated, TypeAlias

from raydl.core.errors import require
from raydl.core.spec import OneOf, Spec


class Consistency(ABC):
    """A rule for when the server steps, and what becomes of those who are late.

    Attributes:
        barrier: whether a step ends the work of everybody: all begin anew from its parameters, and
            what was on its way is thrown away.
    """

    barrier: bool = False

    @property
    def staleness_bound(self) -> int | None:
        """Steps of its own that a worker may be ahead of the slowest; None for any number."""
        return None

    @abstractmethod
    def quorum(self, workers: int) -> int:
        """Number of updates that make a step, of so many workers.

        Raises:
            SpecError: if so many never come.
        """

    def discount_factor(self, staleness: int) -> float:
        """Factor on an update that began so many steps of the server ago."""
        return 1.0


@dataclass(frozen=True)
class Synchronous(Spec, Consistency, field="runtime.consistency"):
    """The server steps when every worker's update is there, or with backup workers the first.

    J. Chen, X. Pan, R. Monga, S. Bengio, R. Jozefowicz, "Revisiting Distributed Synchronous SGD",
    2016 (arXiv:1604.00981).

    Of clients, K. Bonawitz et al., "Towards Federated Learning at Scale: System Design", MLSys
    2019, choose more than they wait for, which is over-selection.

    Args:
        backup: workers that are not waited for; their updates are thrown away.
        over: clients of a cohort beyond those that are waited for, as a fraction of these: with 0.1
            and cohorts of 11 the first 10 make a step.
    """

    backup: int = 0
    over: float = 0.0

    barrier = True

    def __post_init__(self) -> None:
        require(self.backup >= 0, "runtime.consistency.backup", self.backup, "0 or larger")
        require(0 <= self.over < inf, "runtime.consistency.over", self.over, "0 or larger")

    def quorum(self, workers: int) -> int:
        """All but the backups, and of these all but what is over."""
        allowed = f"smaller than the number of workers, {workers}"
        require(self.backup < workers, "runtime.consistency.backup", self.backup, allowed)
        return max(1, round((workers - self.backup) / (1 + self.over)))


@dataclass(frozen=True)
class Asynchronous(Spec, Consistency, field="runtime.consistency"):
    """The server steps as updates arrive, and who sent one goes on at once.

    One at a time, B. Recht, C. Re, S. Wright, F. Niu, "Hogwild!", NeurIPS 2011, and J. Dean et al.,
    "Large Scale Distributed Deep Networks", NeurIPS 2012; from a buffer, J. Nguyen et al.,
    "Federated Learning with Buffered Asynchronous Aggregation", AISTATS 2022. The polynomial
    discount is that of C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization", 2019.

    Args:
        buffer: updates that make a step.
        discount: exponent a of the factor (1 + τ)⁻ᵃ on an update that is τ steps old.
    """

    buffer: int = 1
    discount: float = 0.0

    def __post_init__(self) -> None:
        require(self.buffer >= 1, "runtime.consistency.buffer", self.buffer, "1 or larger")
        _check_discount(self.discount)

    def quorum(self, workers: int) -> int:
        """The buffer."""
        allowed = f"at most the number of workers, {workers}"
        require(self.buffer <= workers, "runtime.consistency.buffer", self.buffer, allowed)
        return self.buffer

    def discount_factor(self, staleness: int) -> float:
        """(1 + τ)⁻ᵃ."""
        return float((1 + staleness) ** -self.discount)


@dataclass(frozen=True)
class StaleSynchronous(Spec, Consistency, field="runtime.consistency"):
    """Updates are applied as they arrive, but nobody may be far ahead of the slowest.

    Q. Ho et al., "More Effective Distributed ML via a Stale Synchronous Parallel Parameter Server",
    NeurIPS 2013.

    Args:
        bound: steps of its own that a worker may be ahead of the slowest one (s).
        discount: exponent a of the factor (1 + τ)⁻ᵃ on an update that is τ steps old.
    """

    bound: int = 4
    discount: float = 0.0

    def __post_init__(self) -> None:
        require(self.bound >= 0, "runtime.consistency.bound", self.bound, "0 or larger")
        _check_discount(self.discount)

    @property
    def staleness_bound(self) -> int:
        """The bound."""
        return self.bound

    def quorum(self, workers: int) -> int:
        """One."""
        return 1

    def discount_factor(self, staleness: int) -> float:
        """(1 + τ)⁻ᵃ."""
        return float((1 + staleness) ** -self.discount)


AnyConsistency: TypeAlias = Annotated[
    Consistency, OneOf("quorum", Synchronous, Asynchronous, StaleSynchronous)
]


def _check_discount(discount: float) -> None:
    require(discount >= 0, "runtime.consistency.discount", discount, "0 or larger")
