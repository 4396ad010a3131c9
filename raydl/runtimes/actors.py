"""The runtime on Ray: a pool of persistent actors, each with the data and the algorithm at hand.

A round sends an actor a block's clients and one reference to the broadcast; back comes one
accumulator. The data set lies once on every node, in Ray's object store, and the actors read it
there. What clients keep stays in the object store beside the accumulator: the driver holds only the
reference.
"""

import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from math import inf
from typing import Any, TypeVar

import ray
import torch
from ray.exceptions import ObjectLostError, ObjectStoreFullError, OutOfDiskError

from raydl.core.algorithm import Work
from raydl.core.tree import Packed, Params, Tree
from raydl.runtimes.batchable import check_batchable
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.evaluation import Score, Stretch, stretches
from raydl.runtimes.host import Host, Row
from raydl.runtimes.memory import keep_freed_memory
from raydl.runtimes.metrics import Metrics
from raydl.runtimes.pool import Call, Pool, Task
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import ClusterError, KeptLostError, Reduced, Runtime, merge
from raydl.runtimes.shared import arrived, as_tensor, packed, share, travelling, unpacked

_CALL_OPERATIONS = 5e8  # about 50 ms of one core, beside which a call's millisecond is little
_CALL_BLOCKS = 8  # of one call at most, since a block has costs that operations do not count

_T = TypeVar("_T")


@contextmanager
def _explained() -> Iterator[None]:
    """Says what became of a run's objects."""
    try:
        yield
    except ObjectLostError as error:
        raise KeptLostError(
            "what clients keep between rounds was lost, which happens with a node"
        ) from error
    except (ObjectStoreFullError, OutOfDiskError) as error:
        raise ClusterError(
            "a node's object store is full, and so is the disk that it spills to; give the nodes "
            "more of either (ray start --object-store-memory BYTES --temp-dir FOLDER)"
        ) from error


class ActorPool(Runtime):
    """Runs a problem's blocks on a pool of Ray actors; Ray must be connected.

    Args:
        problem: what is to be learned.
        workers: how many actors.
        cpus: logical CPUs that each of them reserves.
        gpus: GPUs that each of them reserves; a fraction shares one. Above 0 they train on it.
        threads: of torch, in each.
        batched: whether the clients of a block train as one ``vmap``.
        timeout: seconds for a call on an actor, which is then given up; None for any time.
    """

    def __init__(
        self,
        problem: Problem,
        workers: int,
        cpus: float = 1,
        gpus: float = 0,
        threads: int = 1,
        batched: bool = False,
        timeout: float | None = None,
    ) -> None:
        if batched:
            check_batchable(problem)
        # In this process, too: more threads than that only wait for each other as it merges.
        torch.set_num_threads(threads)
        keep_freed_memory()
        self._problem, self._workers, self.seed = problem, workers, problem.seed
        self._kept: dict[int, ray.ObjectRef] = {}
        self._metrics = Metrics()
        shared = share(problem)
        host = ray.remote(num_cpus=cpus, num_gpus=gpus)(Host)
        device = "cuda" if gpus else "cpu"
        self._pool = Pool(
            lambda: host.remote(*shared, threads=threads, batched=batched, device=device),
            workers,
            timeout,
        )

    @_explained()
    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Trains the cohort, the longest blocks first, and merges them in block order.

        Raises:
            KeptLostError: if what a client kept was lost with a node.
        """
        sent, groups = _share(packed(broadcast)), self._groups(work)
        if self._problem.fan_in > 1:
            folded = self._merged(groups, sent)
        else:
            tasks = self._submit(chain.from_iterable(groups), sent, "fold")
            folded = (block for task in tasks for block in self._folded(task))
        return merge(self._problem.algorithm.reduce, folded)

    @_explained()
    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores on workers that have no block to train, so beside the next round."""
        sent = ray.put(packed(params))

        def call(stretch: Stretch) -> Call:
            return lambda host: [host.evaluate.remote(stretch, sent)]

        parts = stretches(self._problem.dataset, split)
        tasks = self._pool.submit((1, call(stretch)) for stretch in parts)

        @_explained()
        def score() -> Score:
            return sum((self._pool.wait(task).value for task in tasks), Score())

        return score

    @_explained()
    def kept(self) -> Kept:
        """Fetches what every client keeps by now.

        Raises:
            KeptLostError: if some of it was lost with a node.
        """
        return {client: unpacked(ray.get(ref)[client]) for client, ref in self._kept.items()}

    @_explained()
    def restore(self, kept: Kept) -> None:
        """Takes up what the clients of an interrupted run kept; a round in hand is given up."""
        self._pool.clear()
        self._kept = {client: ray.put({client: packed(keep)}) for client, keep in kept.items()}

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray."""
        self._metrics.report(run, row, self._pool.workers, self._pool.restarts)

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

    def _submit(self, calls: Iterable[list[Work]], sent: Any, method: str) -> list[Task]:
        return self._pool.submit(
            (-sum(map(self._problem.samples, blocks)), self._fold(blocks, sent, method))
            for blocks in calls
        )

    def _fold(self, blocks: list[Work], broadcast: bytes | ray.ObjectRef, method: str) -> Call:
        keepers: dict[ray.ObjectRef, list[int]] = {}
        for client in chain.from_iterable(block.clients for block in blocks):
            if client in self._kept:
                keepers.setdefault(self._kept[client], []).append(client)
        request = pickle.dumps((blocks, list(keepers.values())))
        return lambda host: getattr(host, method).remote(request, broadcast, *keepers)

    def _folded(self, task: Task) -> Iterator[Folded]:
        rows, accumulators = arrived(self._pool.wait(task).value)
        for row, accumulator in zip(rows, accumulators, strict=True):
            yield Folded(unpacked(accumulator), {}, self._told(row, task))

    def _told(self, row: Row, task: Task) -> dict[str, torch.Tensor]:
        """The columns of a block's clients, after noting where lies what they keep."""
        self._kept |= dict.fromkeys(row.keepers, task.refs[-1])
        return dict(zip(row.names, as_tensor(row.columns), strict=True))

    def _merged(self, groups: list[list[list[Work]]], sent: Any) -> Iterator[Folded]:
        """What came of each group, merged by a worker."""
        begun = [self._submit(calls, sent, "fold_apart") for calls in groups]
        merging = [self._merge(tasks) for tasks in begun]
        for calls, tasks, task in zip(groups, begun, merging, strict=True):
            yield self._group(calls, sent, tasks, task)

    def _merge(self, tasks: list[Task]) -> Task:
        """Has the accumulators of calls merged, once they are there."""
        for task in tasks:
            self._pool.wait(task)
        (merging,) = self._pool.submit(
            [(-inf, lambda host: [host.merge.remote(*(task.refs[1] for task in tasks))])]
        )
        return merging

    def _group(
        self, calls: list[list[Work]], sent: Any, tasks: list[Task], merging: Task
    ) -> Folded:
        """What came of a group; it is trained again if accumulators are lost with their node."""
        while True:
            try:
                accumulator = arrived(self._pool.wait(merging).value)
                break
            except ObjectLostError as error:
                if error.object_ref_hex not in {task.refs[1].hex() for task in tasks}:
                    raise
                tasks = self._submit(calls, sent, "fold_apart")
                merging = self._merge(tasks)
        blocks = [self._told(row, task) for task in tasks for row in task.value]
        clients = {name: torch.cat([each[name] for each in blocks]) for name in blocks[0]}
        return Folded(unpacked(accumulator), {}, clients)


def _cut(values: list[_T], size: int) -> list[list[_T]]:
    """The values in pieces, the last of which may be shorter."""
    return [values[start : start + size] for start in range(0, len(values), max(1, size))]


def _share(wire: Packed) -> bytes | ray.ObjectRef:
    """One reference for all calls; or a small tree itself, which arrives sooner with each call."""
    sent = travelling(wire, wire.buffer.nbytes)
    return sent if isinstance(sent, bytes) else ray.put(wire)
