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
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.evaluation import Score, Stretch
from raydl.runtimes.worker.worker import Worker


class BlockRow(NamedTuple):
    """What the driver is told of a block."""

    names: tuple[str, ...]
    columns: np.ndarray
    states: PackedWire  # what its clients keep now


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

    def train(self, *call: Any) -> Any:
        """The row and the accumulator of each block, see `_train`."""
        return _inline(*self._train(*call))

    @ray.method(num_returns=2)
    def train_apart(self, *call: Any) -> tuple[Any, list[PackedWire]]:
        """The row of each block; apart from it its accumulator, which stays where it is."""
        rows, accumulators = self._train(*call)
        return _inline(rows), accumulators

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

    def _train(
        self, request: bytes, broadcast: Any, states: Any
    ) -> tuple[list[BlockRow], list[PackedWire]]:
        """Trains blocks.

        Args:
            request: the blocks.
            broadcast: a packed tree, in the call itself or in the object store.
            states: what the clients of each block keep, packed.
        """
        received = from_packed(fetch(broadcast))
        rows: list[BlockRow] = []
        accumulators = []
        for block, wire in zip(pickle.loads(request), fetch(states), strict=True):
            kept = ClientStates.from_tree(from_packed(wire))
            result = self._worker.train_block(block, received, kept)
            columns = torch.stack(list(result.clients.values())).numpy()
            states_now = to_packed(result.states.as_tree())
            rows.append(BlockRow(tuple(result.clients), columns, states_now))
            accumulators.append(to_packed(result.accumulator))
        return rows, accumulators


def _inline(rows: list[BlockRow], accumulators: list[PackedWire] | None = None) -> Any:
    """What a call gives, as bytes if it is small."""
    wires = [row.states for row in rows] + (accumulators or [])
    value = rows if accumulators is None else (rows, accumulators)
    return inline_if_small(value, sum(wire.buffer.nbytes for wire in wires))
