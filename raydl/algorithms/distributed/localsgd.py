"""Local SGD: workers train by themselves for J steps, and then take their average.

S. Stich, "Local SGD Converges Fast and Communicates Little", ICLR 2019. With `PostLocal` it is
post-local SGD; with J = 1 and plain SGD, synchronous SGD on the workers' minibatches together.
"""

from dataclasses import dataclass

from raydl.algorithms.distributed import intervals
from raydl.algorithms.distributed.intervals import AnyInterval
from raydl.algorithms.distributed.local import (
    AtSync,
    ServerOptimizer,
    average,
    local_method,
    scheduled,
    total_steps,
)
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, AlgorithmSpec, Scope
from raydl.core.errors import SpecError, require
from raydl.optim import SGD, AnyOptimizer, schedule
from raydl.optim.schedule import AnySchedule


@dataclass(frozen=True)
class LocalSGD(AlgorithmSpec):
    """Workers that train by themselves for some steps, and then take their average.

    Args:
        workers: number of workers (K); the training samples are dealt out to them.
        optimizer: optimizer of the workers.
        schedule: schedule of the optimizer's learning rate.
        batch_size: samples of a worker's minibatch (B).
        steps: local steps from one synchronization to the next (J).
        interval: rule by which the local steps change as the training goes on.
        at_sync: fate of a worker's optimizer state, its momentum: it is kept, reset to
            its beginning, or averaged over the workers, which sends as much again.
    """

    workers: int = 4
    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = schedule.Cosine()
    batch_size: int = 64
    steps: int = 16
    interval: AnyInterval = intervals.Fixed()
    at_sync: AtSync = "keep"

    def __post_init__(self) -> None:
        require(self.workers >= 1, "algorithm.workers", self.workers, "1 or larger")
        require(self.batch_size >= 1, "algorithm.batch_size", self.batch_size, "1 or larger")
        require(self.steps >= 1, "algorithm.steps", self.steps, "1 or larger")

    def outer(self) -> ServerOptimizer:
        """The step that the server makes of the workers' mean movement."""
        return average()

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if the local steps or the rate follow the run's length, and it is open.
        """
        constant = self.interval == intervals.Fixed()
        total = total_steps(scope, self.batch_size, self.steps if constant else None)
        follows = {"interval": not constant, "schedule": self.schedule != schedule.Constant()}
        if total is None and any(follows.values()):
            raise SpecError(
                f"algorithm.{' and algorithm.'.join(name for name in follows if follows[name])} "
                "follow the length of the run, which is open; give it as --epochs"
            )
        return local_method(
            inner=self.optimizer.rule(),
            rate=scheduled(self.optimizer, self.schedule, total),
            outer=self.outer(),
            interval=self.interval.build(self.steps),
            batch_size=self.batch_size,
            total=total,
            at_sync=self.at_sync,
        )
