"""The runtime under a virtual clock as a user names it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from raydl.core.errors import SpecError
from raydl.runtimes.asynchrony.clock import Clock
from raydl.runtimes.asynchrony.consistency import Synchronous
from raydl.runtimes.asynchrony.virtual_time import VirtualTimeRuntime, replay_clock
from raydl.runtimes.local.spec import OneProcess
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortRuntime
from raydl.runtimes.simulated.cluster_model import ClusterModel
from raydl.runtimes.simulated.timeline import Timeline
from raydl.runtimes.worker.process import restored


@dataclass(frozen=True)
class Simulated(ClusterModel, OneProcess):
    """Workers under a virtual clock, each of its own speed, in one process without Ray.

    Args:
        replay: path or URI of a trace, or of the folder of a run with this spec, whose arrivals
            are taken instead of drawn ones.
    """

    replay: str | None = None

    batched = False

    def __post_init__(self) -> None:
        OneProcess.__post_init__(self)
        ClusterModel.__post_init__(self)

    def numeric_fields(self) -> dict[str, Any]:
        """What of this the numbers depend on: all of it."""
        named = {name: getattr(self, name) for name in ("consistency", "speed")}
        return asdict(self) | named | {"batched": self.batched}

    def updates(self, cohort: int, population: int) -> int:
        """As many as the consistency asks for.

        Raises:
            SpecError: if so many never come, or if a bound is to hold between clients of whom
                only some take part.
        """
        if self.consistency.staleness_bound is not None and cohort < population:
            raise SpecError(
                f"{type(self.consistency).__name__} bounds how far workers are ahead of the "
                f"slowest, but of {population} clients only {cohort} take part at a time; choose "
                "an algorithm with workers, or --participation.fraction 1"
            )
        return self.consistency.quorum(cohort)

    def check_foreseeable(self) -> None:
        """Raises a SpecError unless each step takes everybody's update."""
        if self.consistency != Synchronous():
            raise SpecError(
                "in virtual time it shows only as the run goes on whose update comes when; to "
                "plan, choose --consistency Synchronous, or another runtime"
            )

    @contextmanager
    def open(self, problem: Problem) -> Iterator[CohortRuntime]:
        """The runtime for a problem.

        Raises:
            SpecError: if conditions and problem do not fit each other.
        """
        workers = len(problem.partition)
        if problem.algorithm.discount is None and self.consistency.discount_factor(1) != 1:
            raise SpecError(
                "runtime.consistency.discount is given, but the algorithm's messages cannot be "
                "made to count for less; set it to 0, or choose an algorithm such as FedAsync"
            )
        if problem.algorithm.lockstep and not self.consistency.barrier:
            raise SpecError(
                "the algorithm's clients meet the server in step, more than once in a round, but "
                f"runtime.consistency is {type(self.consistency).__name__}; choose Synchronous"
            )
        self.speed.check(workers)
        clock: Clock = Timeline(workers, problem.seed, self)
        if self.replay is not None:
            clock = replay_clock(self.replay, self.consistency, workers)
        with restored():
            yield VirtualTimeRuntime(problem, clock, self.consistency, self.threads, self.device)
