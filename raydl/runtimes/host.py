"""The actor of a pool: a worker whose blocks, accumulators and trees come and go packed."""

import pickle
from typing import Any, NamedTuple

import numpy as np
import ray
import torch

from raydl.core.tree import Packed
from raydl.runtimes.evaluation import Score, Stretch
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import joined
from raydl.runtimes.shared import arrived, attached, packed, travelling, unpacked
from raydl.runtimes.worker import Worker


class Row(NamedTuple):
    """What the driver is told of a block."""

    names: tuple[str, ...]
    columns: np.ndarray
    keepers: list[int]


class Host:
    """The actor: a `Worker` whose trees arrive and leave packed."""

    def __init__(self, problem: Problem, arrays: dict[str, np.ndarray], **worker: Any) -> None:
        self._worker = Worker(attached(problem, arrays), **worker)
        self._reduce = problem.algorithm.reduce

    def ready(self) -> None:
        """Returns when the worker is built, or raises what hindered it."""

    @ray.method(num_returns=2)
    def fold(self, *call: Any) -> tuple[Any, dict[int, Packed]]:
        """What came of each block; apart from it, what the clients keep. See `_folded`."""
        rows, accumulators, kept = self._folded(*call)
        return travelling(
            (rows, accumulators), sum(each.buffer.nbytes for each in accumulators)
        ), kept

    @ray.method(num_returns=3)
    def fold_apart(self, *call: Any) -> tuple[list[Row], list[Packed], dict[int, Packed]]:
        """Each block's row; its accumulator, which stays where it is; and what the clients keep."""
        return self._folded(*call)

    def merge(self, *accumulators: list[Packed]) -> Any:
        """One accumulator of those of several calls."""
        each = [unpacked(part) for parts in accumulators for part in parts]
        merged = packed(joined(self._reduce, each))
        return travelling(merged, merged.buffer.nbytes)

    def _folded(
        self, request: bytes, broadcast: Any, *kept: dict[int, Packed]
    ) -> tuple[list[Row], list[Packed], dict[int, Packed]]:
        """Each block's columns and keepers; its accumulator; and what the clients keep.

        Args:
            request: the blocks and, for each of ``kept``, its keepers: the clients that kept
                nothing newer since.
            broadcast: a packed tree, on the wire.
            kept: what a former call's clients kept.
        """
        blocks, keepers = pickle.loads(request)
        keeps = {
            client: unpacked(part[client])
            for part, clients in zip(kept, keepers, strict=True)
            for client in clients
        }
        received, kept_now = unpacked(arrived(broadcast)), {}
        rows: list[Row] = []
        accumulators = []
        for block in blocks:
            folded = self._worker.fold(block, received, keeps)
            columns = torch.stack(list(folded.clients.values())).numpy()
            rows.append(Row(tuple(folded.clients), columns, list(folded.kept)))
            accumulators.append(packed(folded.accumulator))
            kept_now |= {client: packed(keep) for client, keep in folded.kept.items()}
        return rows, accumulators, kept_now

    def evaluate(self, stretch: Stretch, params: Packed) -> Score:
        """The score on a stretch of a split."""
        return self._worker.evaluate(unpacked(params), stretch)
