"""What one process needs to train and to evaluate: the same in the driver and in a Ray actor."""

from functools import partial

import torch

from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.grad import Gradient, eager, functional
from raydl.core.rng import forked, seed_draws
from raydl.core.tree import Params, Tree
from raydl.data.batches import ClientData
from raydl.data.dataset import Split
from raydl.runtimes.problem import Problem
from raydl.runtimes.worker.block import BlockResult, BlockTrainer
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.evaluation import Score, Stretch, evaluate
from raydl.runtimes.worker.memory import keep_freed_memory
from raydl.runtimes.worker.survey import survey


class Worker:
    """Trains blocks of clients and scores stretches of a split, on one device.

    Args:
        problem: problem that is to be learned.
        threads: torch's threads, in this process.
        batched: whether the clients of a block train as one ``vmap``.
        device: ``cpu``, ``cuda`` or another of torch's.
        gradient: of the minibatches of single clients; by default this process's own.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        threads: int = 1,
        batched: bool = False,
        device: str = "cpu",
        gradient: Gradient | None = None,
    ) -> None:
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._problem, self._batched = problem, batched
        self._device = torch.device(device)
        problem.task.model.to(self._device)
        self._data = ClientData(
            problem.dataset, problem.partition, problem.seed, problem.augmentation, self._device
        )
        gradient = gradient or (functional if batched else eager)(problem.task)
        self._seed = partial(seed_draws, problem.seed, host=problem.task.host_draws)
        trainer = BlockTrainer(problem.algorithm, gradient, self._data, self._seed)
        self._train = trainer.vmapped if batched else trainer.eager

    def train_block(self, work: Work, broadcast: Tree, states: ClientStates) -> BlockResult:
        """Trains a block of clients, on this worker's device; trees come and go in CPU memory.

        Args:
            work: the block.
            broadcast: what its clients begin from.
            states: client state, of those that took part before and keep any.
        """
        self._problem.task.model.train()
        cuda, host = self._device.type == "cuda", self._problem.task.host_draws
        with forked(cuda=cuda, host=host):
            block = self._train(work, self._here(broadcast), states.map(self._place_column))
        kept = block.states.map(torch.Tensor.cpu)
        return BlockResult(_on_cpu(block.accumulator), kept, block.clients)

    def evaluate(self, params: Params, stretch: Stretch) -> Score:
        """Scores the model with these parameters on a stretch of a split."""
        split: Split = getattr(self._problem.dataset, stretch.split)
        part = split.take(slice(stretch.start, stretch.stop)).map(
            lambda each: each.to(self._device)
        )
        task = self._problem.task
        with forked(cuda=self._device.type == "cuda", host=task.host_draws):
            self._seed(stretch.split, stretch.start, "evaluation")
            return evaluate(task, self._here(params), part, self._data.prepare)

    def survey(self, params: Params, work: Work) -> dict[str, torch.Tensor]:
        """Asks a block of clients for the loss of these parameters on their own samples."""
        task = self._problem.task
        with forked(cuda=self._device.type == "cuda", host=task.host_draws):
            self._seed(work.step, work.clients[0], "survey")
            return survey(task, self._here(params), self._data, work)

    def _here(self, value: Tree) -> Tree:
        """The tree on this worker's device, convolutions' weights in the images' memory format."""

        def move(leaf: torch.Tensor) -> torch.Tensor:
            leaf = leaf.to(self._device)
            convolution = leaf.dim() == 4 and not self._batched
            return leaf.contiguous(memory_format=torch.channels_last) if convolution else leaf

        return tree.map(move, value)

    def _place_column(self, column: torch.Tensor) -> torch.Tensor:
        """A column of client state on this worker's device, each row as `_here` would have it."""
        column = column.to(self._device)
        if column.dim() == 5 and not self._batched:
            return column.movedim(2, 4).contiguous().movedim(4, 2)
        return column


def _on_cpu(value: Tree) -> Tree:
    return tree.map(torch.Tensor.cpu, value)
