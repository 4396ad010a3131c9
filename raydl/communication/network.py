"""What an exchange takes on a network, in seconds and in money, and how many workers it can serve.

A step of an exchange takes its latency, and as long as the link that has the most to carry in it.
Links carry both ways at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from raydl.communication.cost import Communication, Phase
from raydl.core.errors import require

_UNLIMITED = 2**40  # workers


@dataclass(frozen=True)
class Network:
    """The links, and what they cost: *down* is towards the workers, *up* away from them.

    Args:
        down: bit/s at which a server sends.
        up: bit/s at which a server receives.
        worker_down: bit/s at which a worker receives; as a server sends by default.
        worker_up: bit/s at which a worker sends; as a server receives by default.
        latency: seconds that a message is under way, whatever its size.
        price: price of 2³⁰ bytes that the servers send, or where there is none the workers.
        currency: unit of the price.
    """

    down: float = 1e9
    up: float = 1e9
    worker_down: float | None = None
    worker_up: float | None = None
    latency: float = 0.0
    price: float = 0.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        for name in ("down", "up", "worker_down", "worker_up"):
            rate = getattr(self, name)
            require(rate is None or rate > 0, name, rate, "above 0, in bit/s, such as 1e9")
        require(self.latency >= 0, "latency", self.latency, "0 or larger, in seconds")
        require(self.price >= 0, "price", self.price, "0 or larger")

    def busy(self, phase: Phase) -> dict[str, float]:
        """The seconds of a phase, by what they are spent on: the slowest link, and latency."""
        links = {
            "server sending": phase.server.sent / self.down,
            "server receiving": phase.server.received / self.up,
            "worker receiving": phase.worker.received / (self.worker_down or self.down),
            "worker sending": phase.worker.sent / (self.worker_up or self.up),
        }
        slowest = max(links, key=lambda link: links[link])
        return {
            slowest: phase.steps * 8 * links[slowest],
            "latency": phase.steps * self.latency,
        }

    def seconds(self, exchange: Communication) -> float:
        """What an exchange takes."""
        return sum(sum(self.busy(phase).values()) for phase in exchange.phases)

    def bottleneck(self, exchange: Communication, computation: float = 0.0) -> str:
        """What most of the time goes to: a party's link, latency, or computation's seconds."""
        spent = {"computation": computation}
        for phase in exchange.phases:
            for what, seconds in self.busy(phase).items():
                spent[what] = spent.get(what, 0.0) + seconds
        return max(spent, key=lambda what: spent[what]) if any(spent.values()) else "nothing"

    def cost(self, exchange: Communication) -> float:
        """What its bytes cost, in the currency of the price."""
        return self.price * exchange.bytes_paid / 2**30

    def most_workers(
        self, exchange: Callable[[int], Communication], within: float
    ) -> dict[str, int | None]:
        """With how many workers each phase of an exchange passes within some seconds.

        Args:
            exchange: workers -> exchange; more of them must never be faster.
            within: seconds that each phase has to itself.

        Returns:
            The largest number of workers by phase, 0 if even one takes too long; None if the phase
            does not limit it. The smallest of them is that of the exchange.
        """
        names = [phase.name for phase in exchange(1).phases]

        def passes(at: int, workers: int) -> bool:
            return sum(self.busy(exchange(workers).phases[at]).values()) <= within

        return {name: _largest(partial(passes, at)) for at, name in enumerate(names)}


def _largest(holds: Callable[[int], bool]) -> int | None:
    """The largest number, from 0 on, up to which something holds; None if there is no end."""
    low, high = 0, 1
    while holds(high):
        if high >= _UNLIMITED:
            return None
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
