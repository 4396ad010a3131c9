"""The runtime of workers that synchronize by all-reduce: no driver, no server.

Every process of a ``torch.distributed`` group runs the whole loop. It trains its own share of the
cohort, one flat all-reduce adds up what came of them, and each of them makes the server's
step by itself, with the same numbers. What a client keeps stays in the process that it belongs to.

Where the algorithm's only client is the group itself (it has a ``hook``), every process trains it,
and the processes share each of its minibatches instead.
"""

from collections import ChainMap
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from raydl.communication import cost
from raydl.core import tree
from raydl.core.algorithm import Algorithm, Work
from raydl.core.errors import SpecError
from raydl.core.tree import Params, Tree
from raydl.runtimes.allreduce.ddp import SharedGradient
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortResult, RuntimeState, Traffic
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.evaluation import Score, stretches

Clients = TypeVar("Clients", int, np.ndarray)


class _Agreed(NamedTuple):
    """What the processes add up.

    Attributes:
        zeros: the leaves of an accumulator, all 0.
        names: of the columns.
        own: paths of this process's own accumulator, when that was agreed on.
    """

    zeros: dict[str, Tensor]
    names: tuple[str, ...]
    own: AbstractSet[str]


class AllReduceProcess(LocalRuntime):
    """One process of the group that runs a problem.

    Args:
        problem: problem that is to be learned; the same in every process.
        threads: torch's threads.
        batched: whether the clients of a block train as one ``vmap``.
        device: device that they train on.

    Raises:
        SpecError: see `check_possible`.
    """

    def __init__(
        self, problem: Problem, *, threads: int = 1, batched: bool = False, device: str = "cpu"
    ) -> None:
        from raydl.runtimes.ray_cluster.prometheus import PrometheusGauges

        check_possible(problem, batched=batched)
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        hook = problem.algorithm.hook
        # One process alone has nobody to exchange anything with.
        self._sync = hook.open() if hook is not None and self._size > 1 else None
        gradient = SharedGradient(problem.task, self._sync) if self._sync else None
        super().__init__(
            problem, threads=threads, batched=batched, device=device, gradient=gradient
        )
        self._agreed: dict[tuple[str, ...], _Agreed] = {}  # by what there is in the broadcast
        self.is_leader = self._rank == 0
        self._gauges = PrometheusGauges(problem.task.spec.best)

    def all_reduce_max(self, number: int) -> int:
        """The largest of the numbers that the processes give."""
        largest = torch.tensor(number)
        dist.all_reduce(largest, dist.ReduceOp.MAX)
        return int(largest)

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray, from the leader."""
        if self.is_leader:
            self._gauges.report(run, row, self._size)

    def map_reduce(self, broadcast: Tree, work: Work) -> CohortResult:
        """Trains this process's share of the cohort, and adds up everyone's."""
        mine = [at for at, client in enumerate(work.clients) if self._owns(client)]
        if not self._agreed:
            self._check_same(broadcast)
        own = self._own(broadcast, work._replace(clients=tuple(work.clients[at] for at in mine)))
        kind = tuple(path for path, _ in tree.leaves(broadcast))
        agreed = self._agreed.get(kind) or self._agree_on(own)
        total, nbytes = self._total(own, mine, len(work.clients), agreed)
        while total["changed"]:  # a gradient, say, that nobody had before, or nobody has any more
            agreed = self._agree_on(own)
            total, again = self._total(own, mine, len(work.clients), agreed)
            nbytes += again
        self._agreed[kind] = agreed
        return CohortResult(
            total["sum"],
            dict(zip(agreed.names, total["columns"].unbind(1), strict=True)),
            own.merge_seconds,
            self._traffic(nbytes),
        )

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores this process's share of the split at once, and adds up everyone's, in order."""
        parts = list(stretches(self._problem.dataset, split))
        own = [self._worker.evaluate(params, part) for part in parts[self._rank :: self._size]]
        everyone = [own] * self._size
        dist.all_gather_object(everyone, own)
        scores = [everyone[at % self._size][at // self._size] for at in range(len(parts))]
        return lambda: sum(scores, Score())

    def state(self) -> RuntimeState:
        """What the clients of all processes keep, and what the processes' gradient syncs do."""
        own = super().state().clients, self._sync.state() if self._sync else {}
        everyone = [own] * self._size
        dist.all_gather_object(everyone, own)
        together = ClientTable()
        for states, _ in everyone:
            together.update(states)
        syncs = {
            str(rank): kept for rank, (_, kept) in enumerate(everyone) if not tree.is_empty(kept)
        }
        return RuntimeState(together.states(), {"gradient_sync": syncs} if syncs else {})

    def restore(self, state: RuntimeState) -> None:
        """Takes up what this process and its clients kept in an interrupted run."""
        own = [self._owns(client) for client in state.clients.clients.tolist()]
        super().restore(RuntimeState(state.clients.take(torch.tensor(own, dtype=torch.bool))))
        syncs = state.own.get("gradient_sync", {})
        if self._sync and syncs:
            self._sync.restore([syncs[rank] for rank in sorted(syncs, key=int)])

    def _check_same(self, broadcast: Tree) -> None:
        """Raises a RuntimeError if the processes do not begin with the same parameters."""
        everyone = [""] * self._size
        dist.all_gather_object(everyone, tree.fingerprint(broadcast))
        if len(set(everyone)) > 1:
            raise RuntimeError(f"the processes begin with different parameters: {everyone}")

    def _owns(self, client: int) -> bool:
        clients = len(self._problem.partition)
        share = owner(client, self._size, clients) == self._rank
        return client < clients and (share or self._sync is not None)

    def _traffic(self, nbytes: int) -> Traffic:
        """Of a round that ends with an all-reduce of so many bytes."""
        calls, sent = 1, nbytes
        if self._sync:
            calls, sent = calls + self._sync.calls, sent + self._sync.nbytes
            self._sync.calls = self._sync.nbytes = 0
        return Traffic.of(cost.ring(self._size, sent, calls))

    def _own(self, broadcast: Tree, share: Work) -> CohortResult:
        if not share.clients:
            return CohortResult(self._problem.algorithm.reduce.zero(), {}, 0.0)
        return super().map_reduce(broadcast, share)

    def _total(
        self, own: CohortResult, mine: list[int], clients: int, agreed: "_Agreed"
    ) -> tuple[Tree, int]:
        """Adds up everyone's part; also the bytes of it."""
        leaves = dict(tree.leaves(own.accumulator))
        known = {path: leaf for path, leaf in leaves.items() if path in agreed.zeros}
        message = summand(tree.from_leaves(agreed.zeros | known), clients, len(agreed.names))
        if mine:
            columns = [own.clients[name] for name in agreed.names]
            message["columns"][mine] = torch.stack(columns, dim=1)
            message["changed"] += leaves.keys() != agreed.own
        if self._sync:  # each process has a part of every client, and of its metrics
            message["columns"] /= self._size
        return _sum_over_processes(message), tree.nbytes(message)

    def _agree_on(self, own: CohortResult) -> "_Agreed":
        """What everyone's accumulators and columns have: a process may lack some of it."""
        zeros = dict(tree.leaves(tree.zeros_like(own.accumulator)))
        everyone = [(zeros, tuple(own.clients))] * self._size
        dist.all_gather_object(everyone, everyone[0])
        parts, names = zip(*everyone, strict=True)
        paths = dict(ChainMap(*parts))
        # An empty tree's path is the beginning of others' where a process has it filled.
        filled = {path.rpartition("/")[0] + "/" for path in paths if not path.endswith("/")}
        like = {path: leaf for path, leaf in paths.items() if path not in filled}
        return _Agreed(like, max(names, key=len), zeros.keys())


def owner(client: Clients, processes: int, clients: int) -> Clients:
    """The process that a client, or each of an array of clients, belongs to."""
    return client * processes // clients


def check_possible(problem: Problem, *, batched: bool) -> None:
    """Raises a SpecError for what no group of processes can run.

    That is a reduction that is no sum, and ``vmap`` over minibatches that the processes share.
    """
    check_additive(problem.algorithm)
    if batched and problem.algorithm.hook is not None:
        raise SpecError(
            "processes that share each minibatch cannot train under vmap; leave "
            "--runtime.batched out"
        )


def check_additive(algorithm: Algorithm) -> None:
    """Raises a SpecError unless an all-reduce can form the algorithm's reduction."""
    if not algorithm.reduce.additive:
        raise SpecError(
            "the algorithm's reduction is no sum, which an all-reduce could form; run it with "
            "--runtime actors"
        )


def summand(accumulator: Tree, clients: int, columns: int) -> Tree:
    """A process's summand: its accumulator, and as yet of zeros the columns over the cohort.

    ``changed`` is whether the accumulator has other names than what was agreed on.
    """
    return {
        "sum": accumulator,
        "columns": torch.zeros(clients, columns, dtype=torch.float64),
        "changed": torch.zeros((), dtype=torch.float64),
    }


def _sum_over_processes(value: Tree) -> Tree:
    """The tree's sum over the processes: one all-reduce for each type of number in it."""
    leaves = dict(tree.leaves(value))
    total: dict[str, Tensor] = {}
    for dtype in sorted({leaf.dtype for leaf in leaves.values()}, key=str):
        alike = {path: leaf for path, leaf in leaves.items() if leaf.dtype == dtype}
        flat = torch.cat([leaf.flatten() for leaf in alike.values()])
        dist.all_reduce(flat)
        parts = torch.split(flat, [leaf.numel() for leaf in alike.values()])
        total |= {
            path: part.view_as(leaf)
            for (path, leaf), part in zip(alike.items(), parts, strict=True)
        }
    return tree.from_leaves(total)
