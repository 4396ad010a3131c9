"""The parameter server's runtime as a user names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raydl.core.errors import require
from raydl.runtimes.consistency import AnyConsistency, Synchronous
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from raydl.runtimes.sharding import sharding
from raydl.runtimes.simulated import VirtualTime, replayed
from raydl.runtimes.specs import OnRay


@dataclass(frozen=True)
class ParameterServer(OnRay):
    """Workers around a server in shards: each an actor, for algorithms that have workers.

    Args:
        shards: actors that hold the parameters, each as many bytes of them (S).
        consistency: when the server makes its steps.
        snapshot: steps of the server from one snapshot of its shards to the next; of the pushes
            after it a shard that is lost loses its part.
        threads: of torch, in each worker.
        cpus: logical CPUs that each worker reserves.
        gpus: GPUs that each worker reserves, and trains on; a fraction shares one.
        address: of a Ray cluster, see actors.
        replay: path or URI of the folder of a run with this spec, whose updates are taken in the
            order in which its server took them: in one process without Ray, and with the same
            numbers, unless a worker or a shard was lost.
    """

    shards: int = 1
    consistency: AnyConsistency = Synchronous()
    snapshot: int = 10
    threads: int = 1
    cpus: float = 1.0
    gpus: float = 0.0
    address: str | None = None
    replay: str | None = None

    batched = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.shards >= 1, "runtime.shards", self.shards, "1 or larger")
        require(self.snapshot >= 1, "runtime.snapshot", self.snapshot, "1 or larger")
        require(self.cpus >= 0, "runtime.cpus", self.cpus, "0 or larger")

    def arithmetic(self) -> dict[str, Any]:
        """What a resumed run must share with itself: not the number of shards."""
        own = {"consistency": self.consistency} if self.consistency != Synchronous() else {}
        own |= {"replay": self.replay} if self.replay is not None else {}
        return super().arithmetic() | own

    @contextmanager
    def open(self, problem: Problem) -> Iterator[Runtime]:
        """The server and the workers for a problem.

        Raises:
            SpecError: if there are more shards than parameters, if the algorithm's server cannot
                be cut into shards, if no step would ever have enough pushes, if the cluster can
                never hold the workers, or if there is nothing to replay.
        """
        from raydl.runtimes import cluster, parameter_server

        sharding(problem, self.shards, self.consistency)
        workers = len(problem.partition)
        if self.replay is not None:
            device = "cuda" if self.gpus else "cpu"
            clock = replayed(self.replay, self.consistency, workers)
            yield VirtualTime(problem, clock, self.consistency, self.threads, device)
            return
        with cluster.connected(self.address, max(os.cpu_count() or 1, workers), self.gpus):
            cluster.check_capacity(workers, self.cpus, self.gpus)
            server = parameter_server.ShardedServer(
                problem,
                self.shards,
                self.consistency,
                self.snapshot,
                self.cpus,
                self.gpus,
                self.threads,
            )
            try:
                yield server
            finally:
                server.close()
