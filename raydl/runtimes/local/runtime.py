"""The runtimes without Ray: blocks one after the other, in the process that drives the run."""

from collections.abc import Callable

from torch import Tensor

from raydl.core.algorithm import Work
from raydl.core.grad import Gradient
from raydl.core.tree import Params, Tree
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortResult, CohortRuntime, RuntimeState, merge
from raydl.runtimes.worker.batchable import check_batchable
from raydl.runtimes.worker.block import BlockResult, join_columns
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.evaluation import Score, stretches
from raydl.runtimes.worker.worker import Worker


class LocalRuntime(CohortRuntime):
    """Runs a problem's blocks in this process.

    Args:
        problem: problem that is to be learned.
        threads: torch's threads.
        batched: whether the clients of a block train as one ``vmap``.
        device: device that they train on.
        gradient: of their minibatches; by default this process's own.

    Raises:
        SpecError: if the block cannot be a ``vmap``, see `check_batchable`.
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
        if batched:
            check_batchable(problem)
        self._problem, self.seed = problem, problem.seed
        self._worker = Worker(
            problem, threads=threads, batched=batched, device=device, gradient=gradient
        )
        self._table = ClientTable()

    def map_reduce(self, broadcast: Tree, work: Work) -> CohortResult:
        """Trains the cohort block by block."""
        blocks = (self._train_block(block, broadcast) for block in self._problem.blocks(work))
        return merge(self._problem.algorithm.reduce, blocks, self._problem.fan_in)

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores at once; nothing runs beside this process."""
        parts = stretches(self._problem.dataset, split)
        score = sum((self._worker.evaluate(params, part) for part in parts), Score())
        return lambda: score

    def survey(self, params: Params, work: Work) -> dict[str, Tensor]:
        """Asks clients block by block."""
        blocks = self._problem.blocks(work)
        return join_columns([self._worker.survey(params, block) for block in blocks])

    def state(self) -> RuntimeState:
        """What every client keeps by now."""
        return RuntimeState(self._table.states())

    def restore(self, state: RuntimeState) -> None:
        """Takes up what the clients of an interrupted run kept."""
        self._table = ClientTable(state.clients)

    def _train_block(self, block: Work, broadcast: Tree) -> BlockResult:
        result = self._worker.train_block(block, broadcast, self._table.gather(block.clients))
        self._table.update(result.states)
        return result
