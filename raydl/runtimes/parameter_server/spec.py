"""The parameter server's runtime as a user names it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raydl.core.algorithm import AlgorithmSpec
from raydl.core.errors import SpecError, require
from raydl.runtimes.asynchrony.consistency import AnyConsistency, Synchronous
from raydl.runtimes.asynchrony.virtual_time import VirtualTimeRuntime, replay_clock
from raydl.runtimes.parameter_server.layout import make_sharding
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.spec import OnRay
from raydl.runtimes.runtime import CohortRuntime, ServerRuntime
from raydl.runtimes.spec import Demand, DrivenSpec, Gpus
from raydl.runtimes.worker.process import restored


@dataclass(frozen=True)
class ShardedServer(OnRay, DrivenSpec):
    """Workers around a server in shards: each an actor, for algorithms that have workers.

    Args:
        shards: actors that hold the parameters, each as many bytes of them (S).
        consistency: when the server makes its steps.
        snapshot: steps of the server from one snapshot of its shards to the next; of the pushes
            after it a shard that is lost loses its part.
        threads: torch's threads, in each worker.
        cpus: logical CPUs that each worker reserves.
        gpus: GPUs that each worker reserves, and trains on; a fraction shares one, and auto is what
            it is for actors.
        address: address of a Ray cluster, see actors.
        replay: path or URI of the folder of a run with this spec, whose updates are taken in the
            order in which its server took them: in one process without Ray, and with the same
            numbers, unless a worker or a shard was lost.
    """

    shards: int = 1
    consistency: AnyConsistency = Synchronous()
    snapshot: int = 10
    threads: int = 1
    cpus: float = 1.0
    gpus: Gpus = 0.0
    address: str | None = None
    replay: str | None = None

    batched = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.shards >= 1, "runtime.shards", self.shards, "1 or larger")
        require(self.snapshot >= 1, "runtime.snapshot", self.snapshot, "1 or larger")
        require(self.cpus >= 0, "runtime.cpus", self.cpus, "0 or larger")

    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on: not the number of shards."""
        own: dict[str, Any] = {}
        if self.consistency != Synchronous():
            own["consistency"] = self.consistency
        if self.replay is not None:
            own["replay"] = self.replay
        return super().numeric_fields() | own

    def demand(self, workers: int | None) -> Demand:
        """A process for each worker of the algorithm; the shards reserve nothing."""
        return Demand(self.address, workers, self.cpus, self.gpus)

    def check_serves(self, algorithm: AlgorithmSpec, workers: int | None) -> None:
        """Raises a SpecError if the clients come and go."""
        if workers is None:
            raise SpecError(
                "runtime is parameter_server, which serves workers that stay, but "
                f"{type(algorithm).__name__} has clients that take turns; choose an algorithm with "
                "workers, such as ParameterServer, EASGD or LocalSGD, or --runtime actors"
            )

    @contextmanager
    def open(self, problem: Problem) -> Iterator[CohortRuntime | ServerRuntime]:
        """The server and the workers for a problem.

        Raises:
            SpecError: if there are more shards than parameters, if the algorithm's server cannot
                be cut into shards, if no step would ever have enough pushes, if the cluster can
                never hold the workers, or if there is nothing to replay.
        """
        from raydl.runtimes.parameter_server.runtime import ShardedServerRuntime
        from raydl.runtimes.ray_cluster import cluster

        make_sharding(problem, self.shards, self.consistency)
        workers = len(problem.partition)
        spec = self.settled(workers)
        if self.replay is not None:
            clock = replay_clock(self.replay, self.consistency, workers)
            with restored():
                yield VirtualTimeRuntime(
                    problem, clock, self.consistency, self.threads, spec.device
                )
            return
        with cluster.connected(self.address, max(os.cpu_count() or 1, workers), spec.reserved):
            cluster.check_capacity(workers, self.cpus, spec.reserved)
            server = ShardedServerRuntime(problem, spec)
            try:
                yield server
            finally:
                server.close()
