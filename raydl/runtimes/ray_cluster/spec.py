"""What the specs of the runtimes on Ray have in common."""

from typing import Any

from raydl.core.errors import require
from raydl.core.spec import Spec
from raydl.runtimes.spec import RuntimeSpec, check_resources


class OnRay(Spec, RuntimeSpec, field="runtime"):
    """What the workers of a Ray cluster have in common."""

    threads: int
    gpus: float
    batched: bool

    def __post_init__(self) -> None:
        check_resources(self.threads)
        require(self.gpus >= 0, "runtime.gpus", self.gpus, "0 or larger")

    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on: not the number of workers."""
        return {"threads": self.threads, "batched": self.batched, "device": self.device}

    @property
    def device(self) -> str:
        """The device that workers train on."""
        return "cuda" if self.gpus else "cpu"
