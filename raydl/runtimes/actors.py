"""The runtime on Ray: a pool of persistent actors, each with the data and the algorithm at hand.

A round sends an actor a block's clients and one reference to the broadcast; back comes one
accumulator. The data set lies once on every node, in Ray's object store, and the actors read it
there. What clients keep stays in the object store, beside the accumulator: the driver holds only
its reference.
"""

import heapq
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from ray.exceptions import RayActorError, RayTaskError

from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.tree import Packed, Params, Tree
from raydl.data.dataset import Dataset, Split
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.runtime import Reduced, merge
from raydl.runtimes.worker import Problem, Score, Stretch, Worker, stretches


class Failed(RuntimeError):
    """A block that ended its worker again and again."""


class Host:
    """The actor: a `Worker` whose trees arrive and leave packed."""

    def __init__(self, problem: Problem, arrays: dict, threads: int, batched: bool, device: str):
        problem = replace(problem, dataset=_attach(problem.dataset, arrays))
        self._worker = Worker(problem, threads, batched, device)

    def fold(self, work: Work, broadcast: tuple, *kept: dict[int, tuple]) -> tuple[Any, Any]:
        keeps = {client: _receive(wire) for part in kept for client, wire in part.items()}
        folded = self._worker.fold(work, _receive(broadcast), keeps)
        wired = {client: _send(keep) for client, keep in folded.kept.items()}
        columns = {name: column.numpy() for name, column in folded.clients.items()}
        return (_send(folded.accumulator), columns, list(wired)), wired

    def evaluate(self, stretch: Stretch, params: tuple) -> Score:
        return self._worker.evaluate(_receive(params), stretch)

    def ready(self) -> None:
        """Returns when the worker is built, or raises what hindered it."""
