"""What the specs of the runtimes on Ray have in common."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Self

import numpy as np

from raydl.core.errors import require
from raydl.core.spec import Spec
from raydl.runtimes.problem import Problem
from raydl.runtimes.spec import Gpus, ResolvedRuntime, RuntimeSpec, check_resources


class OnRay(Spec, RuntimeSpec, field="runtime"):
    """What the workers of a Ray cluster have in common."""

    shares_gpus: ClassVar[bool] = True  # whether several workers may train on one

    threads: int
    gpus: Gpus
    batched: bool

    def __post_init__(self) -> None:
        check_resources(self.threads)
        known = isinstance(self.gpus, str) or self.gpus >= 0
        require(known, "runtime.gpus", self.gpus, "0 or larger, or auto")

    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on: not the number of workers."""
        return {"threads": self.threads, "batched": self.batched, "device": self.device}

    def resolve(
        self, problem: Problem, cohorts: Iterator[np.ndarray], rounds: int
    ) -> ResolvedRuntime:
        """Itself, with the GPUs that there are for each worker where they are left to that."""
        return ResolvedRuntime(self.settled(len(problem.partition)), "")

    def settled(self, workers: int) -> Self:
        """Itself with a number of GPUs.

        Args:
            workers: workers of the algorithm, or its clients.

        Raises:
            SpecError: if no cluster answers at the address, which is asked how many it has.
        """
        if not isinstance(self.gpus, str):
            return self
        from raydl.runtimes.ray_cluster.cluster import reserved_gpus

        demand = self.demand(workers)
        assert demand is not None
        return replace(self, gpus=reserved_gpus(demand))  # type: ignore[call-arg]  # of subclasses

    @property
    def reserved(self) -> float:
        """GPUs that each worker reserves, once that is settled."""
        assert not isinstance(self.gpus, str), "auto is to be settled first"
        return self.gpus

    @property
    def device(self) -> str:
        """The device that workers train on."""
        return "cuda" if self.reserved else "cpu"
