"""The runtimes as a user names them: where clients train, with what resources."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeAlias

import torch

from raydl.core.errors import require
from raydl.core.spec import Spec
from raydl.interrupt import Stop
from raydl.runtimes.inprocess import InProcess
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime

Course: TypeAlias = Callable[[Problem, Runtime, Callable[[Any], None], Stop], Any]


class RuntimeSpec(Protocol):
    """Where a run's clients train."""

    def open(self, problem: Problem) -> AbstractContextManager[Runtime]:
        """The runtime for a problem, given back at the end of the block."""
        ...

    def drive(
        self, problem: Problem, course: Course, rounded: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Has a run take its course, in the process or the processes that drive it.

        Args:
            problem: what is to be learned.
            course: (problem, runtime, rounded, stop) -> outcome.
            rounded: is told of every round that is done.
            stop: whether the run was asked to stop.

        Returns:
            The outcome, of the process that leads.
        """
        with self.open(problem) as runtime:
            return course(problem, runtime, rounded, stop)

    def arithmetic(self) -> dict[str, Any]:
        """What of this the numbers depend on, in their last bits."""
        ...

    def updates(self, cohort: int, population: int) -> int:
        """How many updates make a round, of a cohort of so many.

        Args:
            cohort: clients that take part at a time.
            population: clients there are.

        Raises:
            SpecError: if such a cohort cannot be run here.
        """
        return cohort


def _check(threads: int, device: str = "cpu") -> None:
    require(threads >= 1, "runtime.threads", threads, "1 or larger")
    try:
        available = torch.device(device).type != "cuda" or torch.cuda.is_available()
    except RuntimeError:
        available = False
    require(available, "runtime.device", device, "a device that torch finds here, such as 'cpu'")


@dataclass(frozen=True)
class OneProcess(Spec, RuntimeSpec, field="runtime"):
    """Clients that train in the process that drives the run, without Ray.

    Args:
        threads: of torch.
        device: where the clients train: cpu or cuda.
    """

    threads: int = 1
    device: str = "cpu"

    batched: ClassVar[bool]

    def __post_init__(self) -> None:
        _check(self.threads, self.device)

    def arithmetic(self) -> dict[str, Any]:
        """What of this the numbers depend on."""
        return {"threads": self.threads, "batched": self.batched, "device": self.device}

    @contextmanager
    def open(self, problem: Problem) -> Iterator[Runtime]:
        """The runtime for a problem."""
        yield InProcess(problem, self.threads, self.batched, self.device)


@dataclass(frozen=True)
class Sequential(OneProcess):
    """One client after the other in one process, without Ray: for notebooks and debugging."""

    batched = False


@dataclass(frozen=True)
class Batched(OneProcess):
    """Many clients side by side as one vmap, in one process without Ray: for small dense models."""

    batched = True


class OnRay(Spec, RuntimeSpec, field="runtime"):
    """What the workers of a Ray cluster have in common."""

    threads: int
    gpus: float
    batched: bool

    def __post_init__(self) -> None:
        _check(self.threads)
        require(self.gpus >= 0, "runtime.gpus", self.gpus, "0 or larger")

    def arithmetic(self) -> dict[str, Any]:
        """What a resumed run must share with itself: not the number of workers."""
        device = "cuda" if self.gpus else "cpu"
        return {"threads": self.threads, "batched": self.batched, "device": device}


@dataclass(frozen=True)
class Actors(OnRay):
    """A pool of Ray actors, on this machine or on a cluster.

    Args:
        workers: actors; by default as many as the cluster has CPUs (or GPUs) for.
        threads: of torch, in each of them.
        cpus: logical CPUs that each of them reserves.
        gpus: GPUs that each of them reserves, and trains on; a fraction shares one.
        batched: whether the clients of a block train side by side as one vmap.
        address: of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. By default RAY_ADDRESS, or
            a cluster of its own on this machine.
        timeout: seconds for a call, a few blocks of clients: an actor that takes longer is given
            up, and another one does the blocks. By default a call may take any time.
    """

    workers: int | None = None
    threads: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    batched: bool = False
    address: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.workers is None or self.workers >= 1
        require(known, "runtime.workers", self.workers, "1 or larger")
        require(self.cpus >= 0, "runtime.cpus", self.cpus, "0 or larger")
        require(
            self.cpus + self.gpus > 0, "runtime.cpus", self.cpus, "above 0, or runtime.gpus must be"
        )
        known = self.timeout is None or self.timeout > 0
        require(known, "runtime.timeout", self.timeout, "above 0")

    @contextmanager
    def open(self, problem: Problem) -> Iterator[Runtime]:
        """The pool for a problem.

        Raises:
            SpecError: if the cluster can never hold the workers.
        """
        from raydl.runtimes import actors, cluster

        with cluster.connected(self.address, os.cpu_count() or 1, self.gpus):
            workers = self.workers or cluster.most_workers(self.cpus, self.gpus)
            cluster.check_capacity(workers, self.cpus, self.gpus)
            pool = actors.ActorPool(
                problem, workers, self.cpus, self.gpus, self.threads, self.batched, self.timeout
            )
            try:
                yield pool
            finally:
                pool.close()


@dataclass(frozen=True)
class AllReduce(OnRay):
    """Processes that train and add up their results by all-reduce, under Ray Train.

    Args:
        workers: processes: a number, or as 1..4 the least and the most, between which the group
            follows what the cluster has room for; by default as many as there is room for now.
        threads: of torch, in each of them.
        gpus: GPUs that each of them reserves, and trains on.
        batched: whether a process's clients train side by side as one vmap.
        address: of a Ray cluster, see actors.
        failures: how often the processes are started again, from the newest checkpoint, after one
            of them was lost.
    """

    workers: int | str | None = None
    threads: int = 1
    gpus: float = 0.0
    batched: bool = False
    address: str | None = None
    failures: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        least, most = self.bounds() or (1, 1)
        allowed = "1 or larger, or a range such as 1..4"
        require(1 <= least <= most, "runtime.workers", self.workers, allowed)
        require(self.failures >= 0, "runtime.failures", self.failures, "0 or larger")

    def drive(
        self, problem: Problem, course: Course, rounded: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Has every process take the same course.

        Raises:
            SpecError: if processes can never run this, if the cluster can never hold them, or if
                they are to share minibatches that cannot be divided among them.
        """
        from raydl.runtimes import cluster, train
        from raydl.runtimes.allreduce import check_possible

        check_possible(problem, self.batched)
        shared = problem.algorithm.hook is not None
        batch = problem.minibatch() if shared else 0
        least, most = self.bounds() or (1, 1)
        if shared:
            divides = batch % most == 0 if least == most else batch >= most
            require(divides, "algorithm.batch_size", batch, f"a multiple of the {most} workers")
        with cluster.connected(self.address, max(os.cpu_count() or 1, least), self.gpus):
            if self.workers is None:
                room = range(1, cluster.most_workers(1, self.gpus) + 1)
                useful = (
                    n for n in room if (batch % n == 0 if shared else n <= len(problem.partition))
                )
                least = most = max(useful)
            cluster.check_capacity(least, 1, self.gpus)
            group = train.Group(least, most, self.gpus, self.failures)
            return train.launch(group, problem, course, self.arithmetic(), rounded, stop)

    def bounds(self) -> tuple[int, int] | None:
        """The least and the most workers; None if they follow what there is room for."""
        if self.workers is None:
            return None
        numbers = [int(each) for each in str(self.workers).split("..") if each.isdecimal()]
        return (numbers[0], numbers[-1]) if len(numbers) in (1, 2) else (0, 0)
