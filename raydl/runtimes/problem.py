"""What is to be learned, by what, from which data."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from raydl.core.algorithm import Algorithm, Work
from raydl.core.grad import parameters
from raydl.core.task import Task
from raydl.data.batches import Augmentation
from raydl.data.dataset import Dataset
from raydl.data.partitions.partition import Partition

_BLOCK_OPERATIONS = 1e8  # about 10 ms of one core


@dataclass(frozen=True)
class Problem:
    """What is to be learned, by what, from which data: all that a worker is built from.

    Args:
        algorithm: the algorithm's value.
        task: the model, its loss and its metrics.
        dataset: the samples.
        partition: which training samples each client holds.
        seed: seed of the run, which every draw is folded from.
        augmentation: of training minibatches; none by default.
        block_size: clients of a block; by default it follows from the model and the cohort.
        fan_in: blocks whose accumulators are merged before they are merged with the others'.
        make: makes the task's module anew, for processes that it cannot be sent to; None if nobody
            knows how.
    """

    algorithm: Algorithm
    task: Task
    dataset: Dataset
    partition: Partition
    seed: int = 0
    augmentation: Augmentation | None = None
    block_size: int | None = None
    fan_in: int = 1
    make: Callable[[], nn.Module] | None = None

    def blocks(self, work: Work) -> list[Work]:
        """The cohort in blocks; no worker, and no number of workers, has a say in their size.

        A block is worth its overhead: cheap clients share one, up to 128 of them, while a cohort
        keeps at least 4 blocks for the workers to divide between them.
        """
        size = self.block_size
        if size is None:
            cohort = len(work.clients)
            operations = self.operations(work) / cohort  # of one client
            size = max(1, min(int(_BLOCK_OPERATIONS / operations), 128, -(-cohort // 4)))
        return list(work.blocks(size))

    def minibatch(self) -> int:
        """Samples of the first minibatch of the first client."""
        state = self.algorithm.init(parameters(self.task.model))
        return self.algorithm.plan(state).batch(int(self.partition.sizes[0]))

    def operations(self, work: Work) -> float:
        """The floating-point operations of the work, at least: of a model of dense layers."""
        parameters = sum(each.numel() for each in self.task.model.parameters())
        return 6.0 * parameters * self.samples(work)

    def samples(self, work: Work) -> int:
        """The samples trained on, counting every minibatch as full: what the work costs."""
        sizes = (int(self.partition.sizes[client]) for client in work.clients)
        return sum(
            phase.local_steps(size) * phase.batch(size)
            for size in sizes
            for phase in work.plan.phases
        )
