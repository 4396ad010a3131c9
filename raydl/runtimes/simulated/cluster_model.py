"""Under what model the workers of virtual time work: speed, network and luck."""

from dataclasses import dataclass
from math import inf

from raydl.core.errors import SpecError, require
from raydl.core.spec import Spec
from raydl.runtimes.asynchrony.consistency import AnyConsistency, Synchronous
from raydl.runtimes.simulated.compute_time import AnyComputeTime, Lognormal


@dataclass(frozen=True)
class ClusterModel(Spec, field="runtime"):
    """How workers and server keep time.

    Every worker has a link of its own: what many links share, such as the server's own bandwidth,
    is not modelled, and neither is the time of the server's step.

    Args:
        consistency: rule for when the server steps, and what becomes of those who are late.
        speed: time that local steps take.
        stragglers: fraction of the workers that are stragglers, slower than that.
        slowdown: factor by which stragglers are slower.
        latency: seconds that any message takes, besides its bytes.
        down: bit/s from the server to a worker; null for a broadcast that takes no time.
        up: bit/s from a worker to the server; null for a message that takes no time.
        update_loss: probability that a worker's update is lost. The worker then begins again.
        deadline: seconds after which a synchronous step is made of the updates that are there, be
            they too few; null waits for all that the consistency asks for.
        partial: whether a worker that cannot finish by the deadline sends what it can do until
            then, as in FedProx; otherwise its work is lost.
    """

    consistency: AnyConsistency = Synchronous()
    speed: AnyComputeTime = Lognormal()
    stragglers: float = 0.0
    slowdown: float = 10.0
    latency: float = 0.0
    down: float | None = None
    up: float | None = None
    update_loss: float = 0.0
    deadline: float | None = None
    partial: bool = False

    def __post_init__(self) -> None:
        fraction = 0 <= self.stragglers <= 1
        require(fraction, "runtime.stragglers", self.stragglers, "in [0, 1]")
        require(1 <= self.slowdown < inf, "runtime.slowdown", self.slowdown, "1 or larger")
        require(0 <= self.latency < inf, "runtime.latency", self.latency, "0 or larger")
        for name in ("down", "up"):
            rate = getattr(self, name)
            require(rate is None or rate > 0, f"runtime.{name}", rate, "above 0 bit/s, or null")
        certain = "in [0, 1): if every update is lost, none ever comes"
        require(0 <= self.update_loss < 1, "runtime.update_loss", self.update_loss, certain)
        timely = self.deadline is None or self.deadline > 0
        require(timely, "runtime.deadline", self.deadline, "above 0, or null")
        if self.deadline is not None and not self.consistency.barrier:
            raise SpecError(
                "runtime.deadline is given, but only a synchronous step can wait in vain; leave it "
                "out, or choose --runtime.consistency Synchronous"
            )
        if self.partial and self.deadline is None:
            raise SpecError("runtime.partial needs a --runtime.deadline that work could end at")

    def download(self, nbytes: int) -> float:
        """The seconds that a broadcast of so many bytes takes to one worker."""
        return self.latency + (8 * nbytes / self.down if self.down else 0.0)

    def upload(self, nbytes: int) -> float:
        """The seconds that a message of so many bytes takes to the server."""
        return self.latency + (8 * nbytes / self.up if self.up else 0.0)
