"""A runtime as a user names it: where clients train, with what resources."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias

import numpy as np
import torch

from raydl.core.algorithm import AlgorithmSpec
from raydl.core.errors import require
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortRuntime, ServerRuntime
from raydl.signals import Stop

Gpus: TypeAlias = float | Literal["auto"]  # of each process; auto follows what there is

# (problem, runtime, on_round, stop) -> outcome: a run in one process, from its first round to the
# last. Of several processes that do it together, each calls it.
Loop: TypeAlias = Callable[
    [Problem, CohortRuntime | ServerRuntime, Callable[[Any], None], Stop], Any
]


class Demand(NamedTuple):
    """Processes that a runtime asks of a Ray cluster.

    Attributes:
        address: address of the cluster; None for RAY_ADDRESS, or one on this machine.
        workers: number of processes; None if it follows what there is room for.
        cpus: logical CPUs that each of them reserves.
        gpus: GPUs that each of them reserves.
        shares_gpus: whether several of them may train on one.
    """

    address: str | None
    workers: int | None
    cpus: float
    gpus: Gpus
    shares_gpus: bool = True


class GroupSize(NamedTuple):
    """Number of processes that reduce among themselves: from the least to the most.

    Attributes:
        least: processes that the run needs.
        most: processes that it makes use of; None if that follows what there is room for.
    """

    least: int
    most: int | None


class ResolvedRuntime(NamedTuple):
    """A runtime, and why it is the one."""

    runtime: "RuntimeSpec"
    reason: str


class RuntimeSpec(ABC):
    """A runtime as a user names it.

    Attributes:
        batched: whether many clients train side by side as one vmap.
        shards: actors that hold a server's parameters, each a part of them.
        threads: torch's threads, in each process.
        surveys: whether clients can be asked for their losses before a round.
    """

    surveys: ClassVar[bool] = False
    batched: bool = False
    shards: int = 1
    threads: int = 1

    @abstractmethod
    def launch(
        self, problem: Problem, loop: Loop, on_round: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Runs the training loop, in the process or the processes that drive the run.

        Args:
            problem: problem that is to be learned.
            loop: what each of these processes calls.
            on_round: is told of every round that is done, and of stages between them, in this
                process.
            stop: whether the run was asked to stop.

        Returns:
            The outcome, of the process that is the leader.
        """

    @abstractmethod
    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on, to their last bits: a resumed run shares them."""

    def updates(self, cohort: int, population: int) -> int:
        """Number of updates that make a round.

        Args:
            cohort: clients that take part at a time.
            population: clients there are.

        Raises:
            SpecError: if such a cohort cannot be run here.
        """
        return cohort

    def resolve(
        self, problem: Problem, cohorts: Iterator[np.ndarray], rounds: int
    ) -> ResolvedRuntime:
        """The runtime itself; or the one that it chooses for such a run, and why.

        Args:
            problem: what is to be learned.
            cohorts: who takes part, round by round; drawn from only to choose.
            rounds: how many there will be.
        """
        return ResolvedRuntime(self, "")

    def demand(self, workers: int | None) -> Demand | None:
        """What is asked of a Ray cluster; None if there need be none.

        Args:
            workers: workers of the algorithm; None if it has clients.
        """
        return None

    def group(self) -> GroupSize | None:
        """The processes that reduce among themselves; None if updates go to a server."""
        return None

    def check_serves(self, algorithm: AlgorithmSpec, workers: int | None) -> None:  # noqa: B027
        """Raises a SpecError if the algorithm's clients cannot train here.

        Args:
            algorithm: the algorithm, which is named in the error.
            workers: its workers; None if it has clients.
        """

    def check_foreseeable(self) -> None:  # noqa: B027
        """Raises a SpecError if it only shows as a run goes on who sends what."""


class DrivenSpec(RuntimeSpec):
    """A runtime that is driven by the process that asked for the run."""

    @abstractmethod
    def open(self, problem: Problem) -> AbstractContextManager[CohortRuntime | ServerRuntime]:
        """The runtime for a problem, given back at the end of the block."""

    def launch(
        self, problem: Problem, loop: Loop, on_round: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Runs the training loop in this process."""
        with self.open(problem) as runtime:
            return loop(problem, runtime, on_round, stop)


def check_resources(threads: int, device: str = "cpu") -> None:
    """Raises a SpecError unless torch has such a device, and there is a thread at least."""
    require(threads >= 1, "runtime.threads", threads, "1 or larger")
    try:
        available = torch.device(device).type != "cuda" or torch.cuda.is_available()
    except RuntimeError:
        available = False
    require(available, "runtime.device", device, "a device that torch finds here, such as 'cpu'")
