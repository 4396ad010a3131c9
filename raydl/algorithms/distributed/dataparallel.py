"""Synchronous data-parallel training: every step is one of the whole minibatch.

The processes of the runtime share each minibatch, and torch's DDP averages their gradients beside
the backward pass. So it is local SGD with a single worker, whatever the number of processes, and
that is how it is defined here; one process, which shares with nobody, is the centralized baseline.

S. Li et al., "PyTorch Distributed: Experiences on Accelerating Data Parallel Training", VLDB 2020.
"""

from dataclasses import dataclass, replace
from math import ceil
from typing import ClassVar

from raydl.algorithms.distributed.hooks import AnyHook, Plain
from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, AlgorithmSpec, Scope
from raydl.core.errors import SpecError, require
from raydl.optim import SGD, AnyOptimizer, schedule
from raydl.optim.scaling import Scaling, scale_rate
from raydl.optim.schedule import AnySchedule


@dataclass(frozen=True)
class DataParallel(AlgorithmSpec):
    """Processes that share every minibatch; in one process, centralized training.

    Args:
        optimizer: optimizer of the parameters.
        schedule: schedule of the optimizer's learning rate.
        batch_size: samples of a minibatch, over all processes (B).
        steps: minibatches of a round, after which the model may be scored and written down; as
            many as make an epoch by default.
        scaling: growth of the learning rate with the batch: none, linear or sqrt.
        base_batch: batch that the optimizer's learning rate is meant for, with scaling.
        hook: treatment of the gradients that the processes exchange.
    """

    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = schedule.Cosine()
    batch_size: int = 64
    steps: int | None = None
    scaling: Scaling = "none"
    base_batch: int = 64
    hook: AnyHook = Plain()

    workers: ClassVar[int] = 1
    usual_runtime: ClassVar[str] = "allreduce"

    def __post_init__(self) -> None:
        require(self.batch_size >= 1, "algorithm.batch_size", self.batch_size, "1 or larger")
        known = self.steps is None or self.steps >= 1
        require(known, "algorithm.steps", self.steps, "1 or larger, or null for an epoch")
        scale_rate(self.optimizer.lr, self.batch_size, self.base_batch, self.scaling)

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if a round is to be an epoch, or the rate follows the run's length, and
                neither is known.
        """
        steps = self.steps
        if steps is None:
            if scope.epoch is None:
                raise SpecError("algorithm.steps is an epoch, whose length is open; give a number")
            steps = ceil(scope.epoch / min(self.batch_size, scope.epoch))
        lr = scale_rate(self.optimizer.lr, self.batch_size, self.base_batch, self.scaling)
        optimizer = replace(self.optimizer, lr=lr)  # type: ignore[call-arg]  # a field of every optimizer
        alone = LocalSGD(1, optimizer, self.schedule, self.batch_size, steps)
        return alone.build(scope)._replace(hook=self.hook)
