"""What one process needs to train and to evaluate: the same in the driver and in a Ray actor."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from raydl.core.algorithm import Algorithm, Work
from raydl.core.errors import SpecError
from raydl.core.grad import Task, eager, forward, functional
from raydl.core.tree import Params, Tree
from raydl.data.batches import Augmentation, ClientData
from raydl.data.dataset import Dataset
from raydl.data.partitions import Partition
from raydl.runtimes.block import Folded, fold_eager, fold_vmapped


@dataclass(frozen=True)
class Problem:
    """What is to be learned, by what, from which data: all that a worker is built from.

    Args:
        algorithm: the algorithm's value.
        task: the model and its loss.
        dataset: the samples.
        partition: which training samples each client holds.
        seed: the run's seed, which every draw is folded from.
        augmentation: of training minibatches; none by default.
        block_size: clients of a block; by default it follows from the model and the cohort.
    """

    algorithm: Algorithm
    task: Task
    dataset: Dataset
    partition: Partition
    seed: int = 0
    augmentation: Augmentation | None = None
    block_size: int | None = None

    def blocks(self, work: Work) -> list[Work]:
        """The cohort in blocks; no worker, and no number of workers, has a say in their size.

        A block is worth its overhead: cheap clients share one, up to 32 of them, while a cohort
        keeps at least 4 blocks for the workers to divide between them.
        """
        size = self.block_size
        if size is None:
            cohort = len(work.clients)
            samples = sum(self._samples_trained_on(work, client) for client in work.clients)
            parameters = sum(each.numel() for each in self.task.model.parameters())
            operations = 6 * parameters * samples / cohort  # of one client, at least
            size = max(1, min(int(_BLOCK_OPERATIONS / operations), 32, -(-cohort // 4)))
        return list(work.blocks(size))

    def _samples_trained_on(self, work: Work, client: int) -> int:
        samples = int(self.partition.sizes[client])
        return work.plan.local_steps(samples) * work.plan.batch(samples)


_BLOCK_OPERATIONS = 1e8  # about 10 ms of one core


class Score(NamedTuple):
    """Sums over the samples evaluated; scores add up.

    Attributes:
        loss: the sum of the samples' losses.
        correct: how many predictions (targets' entries, in a sequence) were right.
        predictions: how many there were.
        samples: how many samples.
    """

    loss: float = 0.0
    correct: int = 0
    predictions: int = 0
    samples: int = 0

    def plus(self, other: "Score") -> "Score":
        """The score over both sets of samples."""
        return Score(*(a + b for a, b in zip(self, other, strict=True)))

    def means(self) -> dict[str, float]:
        """``loss`` and ``accuracy`` in [0, 1]; empty if nothing was evaluated."""
        if not self.samples:
            return {}
        return {"loss": self.loss / self.samples, "accuracy": self.correct / self.predictions}


class Stretch(NamedTuple):
    """A stretch of a split, the unit of evaluation: samples [start, stop)."""

    split: str
    start: int
    stop: int


_EVALUATED_AT_ONCE = 250  # samples: few enough for a CNN's activations to stay in the cache
_STRETCH = 2000  # samples of one evaluation task


def stretches(dataset: Dataset, split: str) -> Iterator[Stretch]:
    """Cuts a split (``train``, ``validation`` or ``test``) into stretches."""
    samples = len(getattr(dataset, split).targets)
    for start in range(0, samples, _STRETCH):
        yield Stretch(split, start, min(start + _STRETCH, samples))


class Worker:
    """Folds blocks of clients and evaluates stretches of a split, on one device.

    Args:
        problem: what is to be learned.
        threads: of torch, in this process.
        batched: whether the clients of a block train as one ``vmap``.
        device: ``cpu``, ``cuda`` or another of torch's.

    Raises:
        SpecError: if the block cannot be a ``vmap`` because the model has running statistics.
    """

    def __init__(
        self, problem: Problem, threads: int = 1, batched: bool = False, device: str = "cpu"
    ) -> None:
        torch.set_num_threads(threads)
        if batched:
            check_batchable(problem.task.model)
        self._problem = problem
        self._device = torch.device(device)
        problem.task.model.to(self._device)
        self._gradient = (functional if batched else eager)(problem.task)
        self._fold = fold_vmapped if batched else fold_eager
        self._data = ClientData(
            problem.dataset, problem.partition, problem.seed, problem.augmentation, self._device
        )

    def fold(self, work: Work, broadcast: Tree, kept: Mapping[int, Tree]) -> Folded:
        """Trains a block of clients; ``kept`` holds what those of them that took part keep."""
        problem = self._problem
        problem.task.model.train()
        devices = [self._device] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            return self._fold(
                problem.algorithm, self._gradient, self._data, problem.seed, work, broadcast, kept
            )

    @torch.no_grad()
    def evaluate(self, params: Params, stretch: Stretch) -> Score:
        """Scores the model with these parameters on a stretch of a split."""
        problem, score = self._problem, Score()
        split = getattr(problem.dataset, stretch.split)
        problem.task.model.eval()
        for start in range(stretch.start, stretch.stop, _EVALUATED_AT_ONCE):
            part = slice(start, min(start + _EVALUATED_AT_ONCE, stretch.stop))
            inputs = self._data.prepare(split.inputs[part].to(self._device))
            targets = split.targets[part].to(self._device)
            outputs = forward(problem.task, params, inputs)
            score = score.plus(
                Score(
                    float(problem.task.loss(outputs, targets).sum(dtype=torch.float64)),
                    int((outputs.argmax(-1) == targets).sum()),
                    targets.numel(),
                    len(targets),
                )
            )
        return score


def check_batchable(model: nn.Module) -> None:
    """Raises a SpecError if the model cannot run under ``vmap`` over clients."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._NormBase) and module.track_running_stats:
            raise SpecError(
                f"the model's {name or 'root'} is a {type(module).__name__}, whose running "
                "statistics change in place, which a vmap over clients cannot follow; use GroupNorm "
                "or another normalization without running statistics, or a runtime that trains "
                "one client at a time (--runtime sequential, or actors with --runtime.batched false)"
            )
