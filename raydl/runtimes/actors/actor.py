"""The actor of a pool: a worker whose blocks, accumulators and trees come and go packed."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import ray
import torch

from raydl.core.algorithm import Work
from raydl.core.errors import SpecError
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.problem_store import Arrays, attach_problem
from raydl.runtimes.ray_cluster.transport import (
    PackedWire,
    fetch,
    from_packed,
    inline_if_small,
    to_packed,
)
from raydl.runtimes.runtime import merge_all
from raydl.runtimes.worker.evaluation import Score, Stretch
from raydl.runtimes.worker.worker import Worker


class BlockRow(NamedTuple):
    """What the driver is told of a block."""

    names: tuple[str, ...]
    columns: np.ndarray
    owners: list[int]  # clients that keep state


class BlockActor:
    """The actor: a `Worker` whose trees arrive and leave packed."""

    def __init__(self, problem: Problem, arrays: Arrays, **worker: Any) -> None:
        self._refusal: SpecError | None = None
        try:
            self._worker = Worker(attach_problem(problem, arrays), **worker)
        except SpecError as error:  # raised here, it would be the actor's death
            self._refusal = error
        self._reduce = problem.algorithm.reduce

    def ready(self) -> SpecError | None:
        """Returns when the worker is built: what its node lacks, or nothing."""
        return self._refusal

    @ray.method(num_returns=2)
    def train(self, *call: Any) -> tuple[Any, dict[int, PackedWire]]:
        """The result of each block; apart from it, client state. See `train_apart`."""
        rows, accumulators, states = self.train_apart(*call)
        nbytes = sum(each.buffer.nbytes for each in accumulators)
        return inline_if_small((rows, accumulators), nbytes), states

    @ray.method(num_returns=3)
    def train_apart(
        self, request: bytes, broadcast: Any, *states: dict[int, PackedWire]
    ) -> tuple[list[BlockRow], list[PackedWire], dict[int, PackedWire]]:
        """Each block's row; its accumulator, which stays where it is; and client state.

        Args:
            request: the blocks and, for each of ``states``, its owners: the clients that kept
                nothing newer since.
            broadcast: a packed tree, in the call itself or in the object store.
            states: client state, as former calls gave it.
        """
        blocks, owners = pickle.loads(request)
        before = {
            client: from_packed(part[client])
            for part, clients in zip(states, owners, strict=True)
            for client in clients
        }
        received = from_packed(fetch(broadcast))
        after: dict[int, PackedWire] = {}
        rows: list[BlockRow] = []
        accumulators = []
        for block in blocks:
            result = self._worker.train_block(block, received, before)
            columns = torch.stack(list(result.clients.values())).numpy()
            rows.append(BlockRow(tuple(result.clients), columns, list(result.states)))
            accumulators.append(to_packed(result.accumulator))
            after |= {client: to_packed(state) for client, state in result.states.items()}
        return rows, accumulators, after

    def merge(self, *accumulators: list[PackedWire]) -> Any:
        """One accumulator of those of several calls."""
        each = [from_packed(part) for parts in accumulators for part in parts]
        merged = to_packed(merge_all(self._reduce, each))
        return inline_if_small(merged, merged.buffer.nbytes)

    def survey(self, blocks: list[Work], params: Any) -> list[tuple[tuple[str, ...], np.ndarray]]:
        """What the clients of each block say of a packed tree of parameters: names and columns."""
        asked = from_packed(fetch(params))
        columns = [self._worker.survey(asked, block) for block in blocks]
        return [(tuple(each), torch.stack(list(each.values())).numpy()) for each in columns]

    def evaluate(self, stretch: Stretch, params: PackedWire) -> Score:
        """The score on a stretch of a split."""
        return self._worker.evaluate(from_packed(params), stretch)
