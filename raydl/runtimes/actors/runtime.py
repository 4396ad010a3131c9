"""The driver's side of the actors: a pool of them, each with the data and the algorithm at hand.

A round sends an actor a block's clients and one reference to the broadcast; back comes one
accumulator. The data set lies once on every node, in Ray's object store, and the actors read it
there. Client state is the driver's: its rows go out with a block and come back with the result, so
that a round costs what its cohort weighs, and no lost node takes any of it along.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from math import inf
from typing import TYPE_CHECKING, Any, TypeVar

import ray
import torch
from ray.actor import ActorHandle
from ray.exceptions import ObjectLostError, ObjectStoreFullError, OutOfDiskError

from raydl.core.algorithm import Work
from raydl.core.tree import Params, Tree
from raydl.runtimes.actors.actor import BlockActor, BlockRow
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.problem_store import share_problem
from raydl.runtimes.ray_cluster.prometheus import PrometheusGauges
from raydl.runtimes.ray_cluster.task_pool import Call, QueuedCall, TaskPool
from raydl.runtimes.ray_cluster.transport import (
    PackedWire,
    as_tensor,
    fetch,
    from_packed,
    inline_if_small,
    to_packed,
)
from raydl.runtimes.runtime import (
    ClusterError,
    CohortResult,
    CohortRuntime,
    RuntimeState,
    merge,
)
from raydl.runtimes.worker.batchable import check_batchable
from raydl.runtimes.worker.block import BlockResult, join_columns
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.evaluation import Score, Stretch, stretches
from raydl.runtimes.worker.memory import keep_freed_memory

if TYPE_CHECKING:
    from raydl.runtimes.actors.spec import Actors

_CALL_OPERATIONS = 5e8  # about 50 ms of one core, beside which a call's millisecond is little
_CALL_BLOCKS = 8  # of one call at most, since a block has costs that operations do not count

_T = TypeVar("_T")


@contextmanager
def _explained() -> Iterator[None]:
    """Says what became of a run's objects."""
    try:
        yield
    except (ObjectStoreFullError, OutOfDiskError) as error:
        raise ClusterError(
            "a node's object store is full, and so is the disk that it spills to; give the nodes "
            "more of either (ray start --object-store-memory BYTES --temp-dir FOLDER)"
        ) from error


class ActorRuntime(CohortRuntime):
    """Runs a problem's blocks on a pool of Ray actors; Ray must be connected.

    Args:
        problem: problem that is to be learned.
        spec: the pool, with its number of workers.
    """

    def __init__(self, problem: Problem, spec: "Actors") -> None:
        assert spec.workers is not None
        if spec.batched:
            check_batchable(problem)
        # In this process, too: more threads than that only wait for each other as it merges.
        torch.set_num_threads(spec.threads)
        keep_freed_memory()
        self._problem, self._workers, self.seed = problem, spec.workers, problem.seed
        self._table = ClientTable()
        self._gauges = PrometheusGauges(problem.task.spec.best)
        shared = share_problem(problem)
        actor: Any = ray.remote(num_cpus=spec.cpus, num_gpus=spec.reserved)(BlockActor)
        self._pool = TaskPool(
            lambda _: actor.remote(*shared, **spec.numeric_fields()), spec.workers, spec.timeout
        )

    @_explained()
    def map_reduce(self, broadcast: Tree, work: Work) -> CohortResult:
        """Trains the cohort, the longest blocks first, and merges them in block order."""
        sent, groups = _share(to_packed(broadcast)), self._groups(work)
        if self._problem.fan_in > 1:
            blocks = self._merge_groups(groups, sent)
        else:
            calls = self._submit(chain.from_iterable(groups), sent, "train")
            blocks = (block for call in calls for block in self._results(call))
        return merge(self._problem.algorithm.reduce, blocks)

    @_explained()
    def survey(self, params: Params, work: Work) -> dict[str, torch.Tensor]:
        """Asks clients block by block, whichever worker is free."""
        sent = _share(to_packed(params))

        def call(blocks: list[Work]) -> Call:
            return lambda actor: [actor.survey.remote(blocks, sent)]

        calls = list(chain.from_iterable(self._groups(work)))
        costs = (-sum(map(self._problem.samples, blocks)) for blocks in calls)
        tasks = self._pool.submit(zip(costs, map(call, calls), strict=True))
        return join_columns(
            [
                dict(zip(names, as_tensor(columns), strict=True))
                for task in tasks
                for names, columns in self._pool.wait(task).value
            ]
        )

    @_explained()
    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores on workers that have no block to train, so beside the next round."""
        sent = ray.put(to_packed(params))

        def call(stretch: Stretch) -> Call:
            return lambda actor: [actor.evaluate.remote(stretch, sent)]

        parts = stretches(self._problem.dataset, split)
        tasks = self._pool.submit((1, call(stretch)) for stretch in parts)

        @_explained()
        def score() -> Score:
            return sum((self._pool.wait(task).value for task in tasks), Score())

        return score

    def state(self) -> RuntimeState:
        """What every client keeps by now."""
        return RuntimeState(self._table.states())

    def restore(self, state: RuntimeState) -> None:
        """Takes up what the clients of an interrupted run kept; a round in hand is given up."""
        self._pool.clear()
        self._table = ClientTable(state.clients)

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray."""
        self._gauges.report(run, row, self._pool.workers, self._pool.restarts)

    def close(self) -> None:
        """Ends the actors."""
        self._pool.close()

    def _groups(self, work: Work) -> list[list[list[Work]]]:
        """The cohort's blocks as calls, in groups of those that are merged with each other first.

        Cheap blocks share a call, but every worker has one.
        """
        blocks, fan_in = self._problem.blocks(work), self._problem.fan_in
        affordable = int(_CALL_OPERATIONS * len(blocks) / max(1, self._problem.operations(work)))
        together = max(1, min(affordable, _CALL_BLOCKS, -(-len(blocks) // self._workers)))
        groups = _cut(blocks, fan_in if fan_in > 1 else len(blocks))
        return [_cut(group, together) for group in groups]

    def _submit(self, calls: Iterable[list[Work]], sent: Any, method: str) -> list[QueuedCall]:
        return self._pool.submit(
            (-sum(map(self._problem.samples, blocks)), self._call(blocks, sent, method))
            for blocks in calls
        )

    def _call(self, blocks: list[Work], broadcast: bytes | ray.ObjectRef[Any], method: str) -> Call:
        """The call that trains blocks, with what their clients keep when it is made."""
        request = pickle.dumps(blocks)

        def call(actor: ActorHandle[Any]) -> list[ray.ObjectRef[Any]]:
            kept = [to_packed(self._table.gather(each.clients).as_tree()) for each in blocks]
            states = inline_if_small(kept, sum(each.buffer.nbytes for each in kept))
            given = getattr(actor, method).remote(request, broadcast, states)
            return given if isinstance(given, list) else [given]

        return call

    def _results(self, call: QueuedCall) -> Iterator[BlockResult]:
        rows, accumulators = fetch(self._pool.take(call))
        for row, accumulator in zip(rows, accumulators, strict=True):
            yield BlockResult(from_packed(accumulator), ClientStates(), self._take_row(row))

    def _take_row(self, row: BlockRow) -> dict[str, torch.Tensor]:
        """The columns of a block's clients, after noting what they keep."""
        self._table.update(ClientStates.from_tree(from_packed(row.states)))
        return dict(zip(row.names, as_tensor(row.columns), strict=True))

    def _merge_groups(self, groups: list[list[list[Work]]], sent: Any) -> Iterator[BlockResult]:
        """The result of each group, merged by a worker."""
        begun = [self._submit(blocks, sent, "train_apart") for blocks in groups]
        merging = [self._merge(calls) for calls in begun]
        for blocks, calls, merged in zip(groups, begun, merging, strict=True):
            yield self._group(blocks, sent, calls, merged)

    def _merge(self, calls: list[QueuedCall]) -> QueuedCall:
        """Has the accumulators of calls merged, once they are there."""
        for call in calls:
            self._pool.wait(call)
        (merging,) = self._pool.submit(
            [(-inf, lambda actor: [actor.merge.remote(*(call.refs[1] for call in calls))])]
        )
        return merging

    def _group(
        self, blocks: list[list[Work]], sent: Any, calls: list[QueuedCall], merging: QueuedCall
    ) -> BlockResult:
        """The result of a group; it trains again if accumulators are lost with their node."""
        while True:
            try:
                accumulator = fetch(self._pool.wait(merging).value)
                break
            except ObjectLostError as error:
                if error.object_ref_hex not in {call.refs[1].hex() for call in calls}:
                    raise
                calls = self._submit(blocks, sent, "train_apart")
                merging = self._merge(calls)
        columns = [self._take_row(row) for call in calls for row in fetch(call.value)]
        return BlockResult(from_packed(accumulator), ClientStates(), join_columns(columns))


def _cut(values: list[_T], size: int) -> list[list[_T]]:
    """The values in pieces, the last of which may be shorter."""
    return [values[start : start + size] for start in range(0, len(values), max(1, size))]


def _share(wire: PackedWire) -> bytes | ray.ObjectRef[Any]:
    """One reference for all calls; or a small tree itself, which arrives sooner with each call."""
    sent = inline_if_small(wire, wire.buffer.nbytes)
    return sent if isinstance(sent, bytes) else ray.put(wire)
