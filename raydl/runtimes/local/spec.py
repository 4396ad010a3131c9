"""The runtimes without Ray as a user names them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from raydl.core.spec import Spec
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortRuntime
from raydl.runtimes.spec import DrivenSpec, check_resources
from raydl.runtimes.worker.process import restored


@dataclass(frozen=True)
class OneProcess(Spec, DrivenSpec, field="runtime"):
    """Clients that train in the process that drives the run, without Ray.

    Args:
        threads: torch's threads.
        device: device that the clients train on: cpu or cuda.
    """

    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        check_resources(self.threads, self.device)

    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on."""
        return {"threads": self.threads, "batched": self.batched, "device": self.device}

    @contextmanager
    def open(self, problem: Problem) -> Iterator[CohortRuntime]:
        """The runtime for a problem."""
        with restored():
            yield LocalRuntime(problem, **self.numeric_fields())


@dataclass(frozen=True)
class Sequential(OneProcess):
    """One client after the other in one process, without Ray: for notebooks and debugging."""

    surveys = True
    batched = False


@dataclass(frozen=True)
class Batched(OneProcess):
    """Many clients side by side as one vmap, in one process without Ray: for small dense models."""

    surveys = True
    batched = True
