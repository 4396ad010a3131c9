"""The runtimes without Ray: blocks one after the other, in the process that drives the run."""

from collections.abc import Callable

from raydl.core.algorithm import Work
from raydl.core.grad import Gradient
from raydl.core.tree import Params, Tree
from raydl.runtimes.batchable import check_batchable
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.evaluation import Score, stretches
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Reduced, Runtime, merge
from raydl.runtimes.worker import Worker


class InProcess(Runtime):
    """Runs a problem's blocks in this process.

    Args:
        problem: what is to be learned.
        threads: of torch.
        batched: whether the clients of a block train as one ``vmap``.
        device: where they train.
        gradient: of their minibatches; by default this process's own.

    Raises:
        SpecError: if the block cannot be a ``vmap``, see `check_batchable`.
    """

    def __init__(
        self,
        problem: Problem,
        threads: int = 1,
        batched: bool = False,
        device: str = "cpu",
        gradient: Gradient | None = None,
    ) -> None:
        if batched:
            check_batchable(problem)
        self._problem, self.seed = problem, problem.seed
        self._worker = Worker(problem, threads, batched, device, gradient)
        self._kept: Kept = {}

    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Trains the cohort block by block."""
        blocks = (self._fold(block, broadcast) for block in self._problem.blocks(work))
        return merge(self._problem.algorithm.reduce, blocks, self._problem.fan_in)

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores at once; nothing runs beside this process."""
        parts = stretches(self._problem.dataset, split)
        score = sum((self._worker.evaluate(params, part) for part in parts), Score())
        return lambda: score

    def _fold(self, block: Work, broadcast: Tree) -> Folded:
        folded = self._worker.fold(block, broadcast, self._kept)
        self._kept |= folded.kept
        return folded

    def kept(self) -> Kept:
        """What every client keeps by now."""
        return dict(self._kept)

    def restore(self, kept: Kept) -> None:
        """Takes up what the clients of an interrupted run kept."""
        self._kept = dict(kept)

    def close(self) -> None:
        """Nothing to give back."""
