"""Whoever takes turns at a workload: the bare loops, and raydl on each of its runtimes."""

from collections.abc import Iterable, Iterator
from time import perf_counter
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from raydl.core.grad import parameters
from raydl.core.task import Precision
from raydl.core.tree import Params
from raydl.round import Round, rounds
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from tests.benchmarks.bare import Bare, Given
from tests.benchmarks.workloads import Prepared

WORKERS = 2


class Side(Protocol):
    """What can train one cohort after the other."""

    def round(self) -> float:
        """Trains the next cohort, in so many seconds."""
        ...

    def params(self) -> Params:
        """The parameters by now."""
        ...

    def close(self) -> None:
        """Ends what it started."""
        ...


class Raydl:
    """raydl's own loop over a runtime.

    Args:
        problem: what is trained.
        runtime: where.
        cohorts: of the rounds.

    Attributes:
        done: the last round.
    """

    done: Round

    def __init__(self, problem: Problem, runtime: Runtime, cohorts: Iterable[np.ndarray]) -> None:
        self._algorithm, self._runtime = problem.algorithm, runtime
        state = problem.algorithm.init(parameters(problem.task.model))
        self._rounds = rounds(problem.algorithm, runtime, state, iter(cohorts))

    def round(self) -> float:
        """Trains the next cohort, in so many seconds."""
        began = perf_counter()
        self.done = next(self._rounds)
        return perf_counter() - began

    def params(self) -> Params:
        """The server's parameters."""
        return self._algorithm.params(self.done.state)

    def close(self) -> None:
        """Gives back the runtime's workers."""
        self._runtime.close()


class Contender(NamedTuple):
    """One row of the table.

    Attributes:
        name: ``bare``, also with what it is that is bare, or the name of raydl's runtime.
        processes: that train.
        threads: of torch, in each of them.
        precision: of the forward and backward pass.
        follows: whether its numbers must be the bare loop's: not where a block of clients is one
            vmap and the model has dropout, which is drawn otherwise there.
        side: what is timed.
    """

    name: str
    processes: int
    threads: int
    precision: Precision
    follows: bool
    side: Side

    @property
    def bare(self) -> bool:
        """Whether there is no framework in it."""
        return self.name.startswith("bare")

    def round(self) -> float:
        """Trains the next cohort, with this contender's threads in the process that drives it."""
        torch.set_num_threads(self.threads)
        return self.side.round()


def contenders(prepared: Prepared, given: Given) -> Iterator[Contender]:
    """All that take turns, ready to begin; Ray must be connected."""
    for precision in prepared.workload.precisions:
        yield Contender("bare", 1, 2, precision, True, Bare(prepared, given, precision))
        yield Contender("bare", 2, 1, precision, True, Bare(prepared, given, precision, 2))
        yield from _runtimes(prepared, precision)


def _runtimes(prepared: Prepared, precision: Precision) -> Iterator[Contender]:
    """raydl's: all of them in float32, the two that follow the bare loops in other precisions."""
    problem = prepared.problem(precision)
    dropout = any(isinstance(module, nn.Dropout) for module in prepared.model.modules())

    def alone(threads: int, batched: bool = False) -> Contender:
        name, follows = ("batched", not dropout) if batched else ("sequential", True)
        side = Raydl(
            problem, LocalRuntime(problem, threads=threads, batched=batched), prepared.cohorts()
        )
        return Contender(name, 1, threads, precision, follows, side)

    def pooled(batched: bool = False) -> Contender:
        name, follows = ("actors, batched", not dropout) if batched else ("actors", True)
        pool = ActorRuntime(problem, Actors(WORKERS, cpus=1 / 4, batched=batched))
        side = Raydl(problem, pool, prepared.cohorts())
        return Contender(name, WORKERS, 1, precision, follows, side)

    yield alone(threads=2)
    yield pooled()
    if precision == "float32":
        yield alone(threads=1)
    if precision == "float32" and prepared.workload.batched:
        yield alone(threads=2, batched=True)
        yield alone(threads=1, batched=True)
        yield pooled(batched=True)


def distance(params: Params, reference: Params, start: Params) -> float:
    """How far two results lie apart, relative to how far the reference moved from the start."""
    apart, moved = (
        sum(float((a[name] - b[name]).square().sum()) for name in reference) ** 0.5
        for a, b in ((params, reference), (reference, start))
    )
    return apart / moved
