"""What a run will send, and what follows from it on a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from raydl.communication import cost
from raydl.communication.cost import Communication
from raydl.communication.network import Network
from raydl.core.errors import require

Scheme: TypeAlias = Callable[[int], Communication]  # workers -> what a round of them sends
Figures: TypeAlias = dict[str, float | int | str | dict[str, int | None] | None]


@dataclass(frozen=True)
class Circumstances(Network):
    """A network, and what else there is to know.

    Args:
        step_seconds: seconds that a worker computes for one local step.
        within: seconds that each phase of a round may take, such as the way down and the way up:
            asks with how many workers it does.
    """

    step_seconds: float = 0.0
    within: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.step_seconds >= 0, "step_seconds", self.step_seconds, "0 or larger")
        require(self.within is None or self.within > 0, "within", self.within, "above 0")


class Forecast(NamedTuple):
    """What a run will send, and how many local steps its slowest workers take.

    Attributes:
        workers: that take part in the first round.
        scheme: what a round of so many workers sends.
        rounds: how many.
        local_steps: of the slowest worker of each round, over all rounds.
        total: what is sent over all rounds.
        client_state: bytes that all clients keep between rounds once each of them took part, for
            which the run has memory, or beyond 4 GiB disk; None if that is not known.
    """

    workers: int
    scheme: Scheme
    rounds: int
    local_steps: int
    total: Communication
    client_state: int | None = None

    def figures(self, circumstances: Circumstances) -> Figures:
        """The first round, then the whole run, then how far it scales.

        Names that a run's record has too are counted as there. A figure that does not apply is
        None; so is a number of workers without a limit.
        """
        first = self.scheme(self.workers)
        computed = circumstances.step_seconds * self.local_steps
        served = any(first.server)
        figures: Figures = {
            "workers_per_round": self.workers,
            "messages_per_round": first.messages,
            "steps_per_round": first.steps,
            "bytes_worker_sends": _whole(first.worker.sent),
            "bytes_worker_receives": _whole(first.worker.received),
            "bytes_server_sends": _whole(first.server.sent) if served else None,
            "bytes_server_receives": _whole(first.server.received) if served else None,
            "bottleneck": circumstances.bottleneck(first, computed / self.rounds),
            "round_seconds": circumstances.seconds(first) + computed / self.rounds,
            "rounds": self.rounds,
            "messages": self.total.messages,
            "bytes_down": self.total.bytes_down,
            "bytes_up": self.total.bytes_up,
            "bytes_client_state": self.client_state,
            "seconds": circumstances.seconds(self.total) + computed,
            "price": circumstances.cost(self.total),
        }
        if circumstances.within is not None:
            most = circumstances.most_workers(self.scheme, circumstances.within)
            limits = [limit for limit in most.values() if limit is not None]
            figures["most_workers"] = min(limits, default=None)
            figures["most_workers_by_phase"] = most
        return figures


class Comparison(NamedTuple):
    """Forecasts, and the schemes that the same vectors could travel by.

    Attributes:
        title: what is planned.
        forecasts: by name.
        schemes: by name.
    """

    title: str
    forecasts: dict[str, Forecast]
    schemes: Mapping[str, Scheme]


def schemes(
    down: int, up: int, summed: int, servers: int = 1, degree: float = 2.0
) -> dict[str, Scheme]:
    """The schemes by name, for vectors of so many bytes.

    Args:
        down: that a server sends to a worker.
        up: that a worker sends to a server, or to all its peers.
        summed: of a sum on its way through a tree or around a ring.
        servers: of a star.
        degree: of the graph to gossip on; less where there are not as many others.
    """
    return {
        "star": lambda workers: cost.star(workers, down, up, servers),
        "all_to_all": lambda workers: cost.all_to_all(workers, up),
        "tree": lambda workers: cost.tree(workers, summed),
        "ring": lambda workers: cost.ring(workers, summed),
        "gossip": lambda workers: cost.gossip(workers, up, min(degree, workers - 1)),
    }


def _whole(nbytes: float) -> float | int:
    """A whole number as an integer."""
    return int(nbytes) if nbytes == int(nbytes) else nbytes
