"""Virtual time: whose update arrives when, and from which version of the server it began.

A clock knows nothing of parameters and trains nobody. A version of the server is the number of its
steps. There are two ways to tell the arrivals of a step: the ``Timeline`` of simulated runs draws
them, event by event, and a `Replay` reads them from a trace of somebody else's, such as a server of
real actors.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch

from raydl.core.errors import SpecError
from raydl.core.tree import Tree
from raydl.runtimes.asynchrony.trace import Arrival, Trace
from raydl.runtimes.runtime import Traffic


class Workload(NamedTuple):
    """What a piece of work weighs: local steps, and the bytes of broadcast and message."""

    steps: int
    bytes_down: int
    bytes_up: int


class ServerStep(NamedTuple):
    """What led to a step of the server.

    Attributes:
        arrivals: the updates that make it, in order of arrival; of the same time, in the order in
            which they were begun.
        seconds: since the step before.
        traffic: what was sent meanwhile, what was lost or came too late included.
    """

    arrivals: tuple[Arrival, ...]
    seconds: float
    traffic: Traffic


class Clock(ABC):
    """Tells the arrivals that make each step of the server.

    Attributes:
        now: seconds since the run began.
    """

    now: float = 0.0

    def wait(self, until: float) -> None:  # noqa: B027
        """Lets nobody of the next cohort begin before a second; a replay's have begun already."""

    @abstractmethod
    def steps(self, number: int, usual: range) -> range:
        """The steps of the server that a round has, of the run's: the usual ones, or others."""

    @abstractmethod
    def advance(
        self, version: int, cohort: Sequence[int], load: Callable[[int], Workload], *, again: bool
    ) -> ServerStep:
        """Lets time pass until the server steps.

        Args:
            version: of the server, which those who begin now begin from.
            cohort: who may begin. As many as these are at work at a time.
            load: of each of them.
            again: whether one who has sent an update of this version may begin from it again;
                otherwise a worker waits for the next, and a client's place goes to the next one of
                the cohort.
        """

    @abstractmethod
    def in_use(self, versions: Iterable[int]) -> set[int]:
        """Those of the versions that updates yet to arrive began from."""

    @abstractmethod
    def state(self) -> Tree:
        """All that the rest of the time depends on, as a tree of tensors."""

    @abstractmethod
    def restore(self, state: Tree) -> None:
        """Goes on from there."""


class Replay(Clock):
    """The arrivals of a trace, again.

    Args:
        trace: from the first step of the server on.
        workers: number of workers, or the clients of the whole federation.

    Raises:
        SpecError: if the trace cannot have happened.
    """

    def __init__(self, trace: Trace, workers: int) -> None:
        self._steps: dict[int, list[Arrival]] = {}
        for arrival in trace:
            self._steps.setdefault(arrival.applied, []).append(arrival)
        _check(trace, workers)
        self._rounds: dict[int | None, list[int]] = {}
        for arrival in trace:
            self._rounds.setdefault(arrival.round, []).append(arrival.applied)
        # The last step that takes an update from each version.
        self._last = {arrival.version: arrival.applied for arrival in trace}
        self._next = 0

    def steps(self, number: int, usual: range) -> range:
        """Those of the round in the trace, if it tells its rounds."""
        applied = self._rounds.get(number + 1)
        return usual if applied is None else range(applied[0], applied[-1] + 1)

    def advance(
        self, version: int, cohort: Sequence[int], load: Callable[[int], Workload], *, again: bool
    ) -> ServerStep:
        """The arrivals of the step that the server made of this version."""
        if version not in self._steps:
            raise SpecError(
                f"the trace has {len(self._steps)} steps of the server, and this is step "
                f"{version + 1}; take fewer --rounds"
            )
        arrivals, self._next = tuple(self._steps[version]), version + 1
        before = self._steps[version - 1][-1].arrived if version else 0.0
        self.now = arrivals[-1].arrived
        loads = [load(arrival.worker) for arrival in arrivals]
        traffic = Traffic(
            2 * len(loads),
            sum(each.bytes_down for each in loads),
            sum(each.bytes_up for each in loads),
        )
        return ServerStep(arrivals, arrivals[-1].arrived - before, traffic)

    def in_use(self, versions: Iterable[int]) -> set[int]:
        """Those of the versions that later arrivals began from."""
        return {version for version in versions if self._last.get(version, -1) >= self._next}

    def state(self) -> Tree:
        """The time alone: the number of the round says all else."""
        return {"now": torch.tensor(self.now, dtype=torch.float64)}

    def restore(self, state: Tree) -> None:
        """Takes up the time."""
        self.now = state["now"].item() if "now" in state else 0.0


def _check(trace: Trace, workers: int) -> None:
    """Raises a SpecError if it cannot have happened."""
    applied, arrived, free = 0, 0.0, [0] * workers
    for number, arrival in enumerate(trace):
        where = f"arrival {number} of the trace, {tuple(arrival)},"
        if not 0 <= arrival.worker < workers:
            raise SpecError(f"{where} is of worker {arrival.worker}; there are {workers}")
        if arrival.applied not in (applied, applied + 1) or (number == 0 and arrival.applied):
            raise SpecError(f"{where} skips a step of the server: step {applied} came before")
        if arrival.arrived < arrived:
            raise SpecError(f"{where} is earlier than the one before it")
        if not free[arrival.worker] <= arrival.version <= arrival.applied:
            raise SpecError(
                f"{where} began from version {arrival.version}, which its worker could not: it was "
                f"at work until version {free[arrival.worker]}, and this is {arrival.applied}"
            )
        applied, arrived = arrival.applied, arrival.arrived
        free[arrival.worker] = arrival.applied
