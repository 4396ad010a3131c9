"""The runtime on Ray actors as a user names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from raydl.core.errors import require
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.spec import OnRay
from raydl.runtimes.runtime import CohortRuntime
from raydl.runtimes.spec import Demand, DrivenSpec, Gpus
from raydl.runtimes.worker.process import restored


@dataclass(frozen=True)
class Actors(OnRay, DrivenSpec):
    """A pool of Ray actors, on this machine or on a cluster.

    Args:
        workers: actors; by default as many as the cluster has CPUs (or GPUs) for.
        threads: torch's threads, in each of them.
        cpus: logical CPUs that each of them reserves.
        gpus: GPUs that each of them reserves, and trains on; a fraction shares one. With auto one,
            or a part of one where there are fewer GPUs than workers, or none where there are none.
        batched: whether the clients of a block train side by side as one vmap.
        address: address of a Ray cluster: auto, HOST:PORT or ray://HOST:PORT. By default
            RAY_ADDRESS, or a cluster of its own on this machine.
        timeout: seconds for a call, a few blocks of clients: an actor that takes longer is given
            up, and another one does the blocks. By default a call may take any time.
    """

    surveys = True
    workers: int | None = None
    threads: int = 1
    cpus: float = 1.0
    gpus: Gpus = 0.0
    batched: bool = False
    address: str | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        known = self.workers is None or self.workers >= 1
        require(known, "runtime.workers", self.workers, "1 or larger")
        require(self.cpus >= 0, "runtime.cpus", self.cpus, "0 or larger")
        some = self.cpus > 0 or self.gpus not in (0, "auto")
        require(some, "runtime.cpus", self.cpus, "above 0, or runtime.gpus must be")
        known = self.timeout is None or self.timeout > 0
        require(known, "runtime.timeout", self.timeout, "above 0")

    def demand(self, workers: int | None) -> Demand:
        """As many actors as are set."""
        return Demand(self.address, self.workers, self.cpus, self.gpus)

    @contextmanager
    def open(self, problem: Problem) -> Iterator[CohortRuntime]:
        """The pool for a problem.

        Raises:
            SpecError: if the cluster can never hold the workers.
        """
        from raydl.runtimes.actors.runtime import ActorRuntime
        from raydl.runtimes.ray_cluster import cluster

        spec = self.settled(len(problem.partition))
        gpus = spec.reserved
        with restored(), cluster.connected(self.address, os.cpu_count() or 1, gpus):
            workers = self.workers or cluster.most_workers(self.cpus, gpus)
            cluster.check_capacity(workers, self.cpus, gpus)
            runtime = ActorRuntime(problem, replace(spec, workers=workers))
            try:
                yield runtime
            finally:
                runtime.close()
