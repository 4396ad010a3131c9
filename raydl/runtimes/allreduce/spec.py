"""The all-reduce runtime as a user names it."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from raydl.core.errors import require
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.spec import OnRay
from raydl.runtimes.spec import Demand, Gpus, GroupSize, Loop
from raydl.signals import Stop


@dataclass(frozen=True)
class AllReduce(OnRay):
    """Processes that train and add up their results by all-reduce, under Ray Train.

    Args:
        workers: processes: a number, or as 1..4 the least and the most, between which the group
            follows what the cluster has room for; by default as many as there is room for now.
        threads: torch's threads, in each of them.
        gpus: GPUs that each of them reserves, and trains on, none of which NCCL lets two share;
            with auto one, or none where there are none.
        batched: whether a process's clients train side by side as one vmap.
        address: address of a Ray cluster, see actors.
        failures: number of times that the processes are started again, from the newest checkpoint,
            after one of them was lost.
    """

    shares_gpus = False

    workers: int | str | None = None
    threads: int = 1
    gpus: Gpus = 0.0
    batched: bool = False
    address: str | None = None
    failures: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        least, most = self.group()
        sound = least >= 1 and (most is None or least <= most)
        allowed = "1 or larger, or a range such as 1..4"
        require(sound, "runtime.workers", self.workers, allowed)
        whole = isinstance(self.gpus, str) or self.gpus.is_integer()
        require(whole, "runtime.gpus", self.gpus, "a whole number, since NCCL shares no GPU")
        require(self.failures >= 0, "runtime.failures", self.failures, "0 or larger")

    def demand(self, workers: int | None) -> Demand:
        """As many processes as there may be."""
        return Demand(self.address, self.group().most, 1.0, self.gpus, self.shares_gpus)

    def group(self) -> GroupSize:
        """The number of processes, or its bounds."""
        if self.workers is None:
            return GroupSize(1, None)
        numbers = [int(each) for each in str(self.workers).split("..") if each.isdecimal()]
        return GroupSize(numbers[0], numbers[-1]) if len(numbers) in (1, 2) else GroupSize(0, 0)

    def launch(
        self, problem: Problem, loop: Loop, on_round: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Runs the training loop in every process of a group, under Ray Train.

        Raises:
            SpecError: if processes can never run this, if the cluster can never hold them, or if
                they are to share minibatches that cannot be divided among them.
        """
        from raydl.runtimes.allreduce.launch import launch
        from raydl.runtimes.allreduce.runtime import check_possible
        from raydl.runtimes.ray_cluster import cluster

        check_possible(problem, batched=self.batched)
        shared = problem.algorithm.hook is not None
        batch = problem.minibatch() if shared else 0
        least, most = self.group()
        if shared and most is not None:
            divides = batch % most == 0 if least == most else batch >= most
            require(divides, "algorithm.batch_size", batch, f"a multiple of the {most} workers")
        spec = self.settled(len(problem.partition))
        gpus = spec.reserved
        with cluster.connected(self.address, max(os.cpu_count() or 1, least), gpus):
            if most is None:
                room = range(1, cluster.most_workers(1, gpus) + 1)
                useful = (
                    n for n in room if (batch % n == 0 if shared else n <= len(problem.partition))
                )
                least = most = max(useful)
            cluster.check_capacity(least, 1, gpus)
            return launch(replace(spec, workers=f"{least}..{most}"), problem, loop, on_round, stop)
