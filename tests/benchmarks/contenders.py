"""Whoever takes turns at a workload: the bare loops, and raydl on each of its runtimes."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

import torch

from raydl.core.grad import Precision, parameters
from raydl.core.tree import Params
from raydl.rounds import Round, rounds
from raydl.runtimes.actors import ActorPool
from raydl.runtimes.inprocess import InProcess
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from tests.benchmarks.bare import Bare, Given
from tests.benchmarks.workloads import Prepared

WORKERS = 2


class Side(Protocol):
    """What can train one cohort after the other."""

    def round(self) -> None:
        """Trains the next cohort."""
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
        prepared: gives the cohorts.
    """

    def __init__(self, problem: Problem, runtime: Runtime, prepared: Prepared) -> None:
        self._algorithm, self._runtime = problem.algorithm, runtime
        self._state = problem.algorithm.init(parameters(prepared.model))
        self._rounds: Iterator[Round] = rounds(
            problem.algorithm, runtime, self._state, iter(prepared.cohorts())
        )

    def round(self) -> Round:
        """Trains the next cohort."""
        done = next(self._rounds)
        self._state = done.state
        return done

    def params(self) -> Params:
        """The server's parameters."""
        return self._algorithm.params(self._state)

    def close(self) -> None:
        """Gives back the runtime's workers."""
        self._runtime.close()


class Contender(NamedTuple):
    """One row of the table.

    Attributes:
        name: of the loop, or of raydl's runtime.
        precision: of the forward and backward pass.
        threads: of torch in the process that drives it.
        follows: whether its numbers must be the bare loop's: not where a block of clients is one
            vmap, whose dropout is drawn otherwise.
        side: what is timed.
    """

    name: str
    precision: Precision
    threads: int
    follows: bool
    side: Side

    @property
    def bare(self) -> bool:
        """Whether there is no framework in it."""
        return isinstance(self.side, Bare)


def contenders(prepared: Prepared, given: Given) -> Iterator[Contender]:
    """All that take turns, ready to begin; Ray must be connected."""
    for precision in prepared.workload.precisions:
        yield Contender(
            "bare, 1 process × 2 threads", precision, 2, True, Bare(prepared, given, precision)
        )
        yield Contender(
            "bare, 2 processes × 1 thread", precision, 1, True, Bare(prepared, given, precision, 2)
        )
        problem = prepared.problem(precision)
        for name, threads, follows, runtime in _runtimes(problem, precision):
            side = Raydl(problem, runtime(), prepared)
            yield Contender(name, precision, threads, follows, side)


def _runtimes(
    problem: Problem, precision: Precision
) -> Iterator[tuple[str, int, bool, Callable[[], Runtime]]]:
    """Names, the driver's threads, whether clients are trained one at a time, and the runtime."""
    yield "sequential, 2 threads", 2, True, lambda: InProcess(problem, 2)
    yield "actors", 1, True, lambda: ActorPool(problem, WORKERS, cpus=0.25)
    if precision == "float32":
        yield "sequential, 1 thread", 1, True, lambda: InProcess(problem, 1)
        yield "batched, 2 threads", 2, False, lambda: InProcess(problem, 2, batched=True)
        yield (
            "actors, batched",
            1,
            False,
            lambda: ActorPool(problem, WORKERS, cpus=0.25, batched=True),
        )


def distance(params: Params, reference: Params, start: Params) -> float:
    """How far two results lie apart, relative to how far the reference moved from the start."""
    apart, moved = (
        sum(float((a[name] - b[name]).square().sum()) for name in reference) ** 0.5
        for a, b in ((params, reference), (reference, start))
    )
    return apart / moved


def set_threads(contender: Contender) -> None:
    """The driver's threads, which all contenders share."""
    torch.set_num_threads(contender.threads)
