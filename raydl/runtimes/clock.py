"""Virtual time: whose update arrives when, and from which version of the server it began.

A clock knows nothing of parameters and trains nobody. A version of the server is the number of its
steps. There are two ways to tell the arrivals of a step: a `raydl.runtimes.timeline.Timeline` draws
them, event by event, and a `Replay` reads them from a trace of somebody else's, such as a server of
real actors.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO
from typing import NamedTuple, Protocol, TypeAlias

import pyarrow as pa
from pyarrow import parquet

from raydl.core.errors import SpecError
from raydl.core.tree import Tree
from raydl.runtimes.runtime import Traffic
from raydl.storage import Folder


class Load(NamedTuple):
    """What a piece of work weighs: local steps, and the bytes of broadcast and message."""

    steps: int
    bytes_down: int
    bytes_up: int


class Arrival(NamedTuple):
    """An update that the server took.

    Attributes:
        worker: whose.
        version: of the server, that the worker began from.
        applied: the version of the server that took it, so that it is ``applied − version`` stale.
        arrived: when, in seconds since the run began.
        seconds: since the worker began.
        steps: local steps behind it; None for as many as were planned.
    """

    worker: int
    version: int
    applied: int
    arrived: float
    seconds: float = 0.0
    steps: int | None = None


Trace: TypeAlias = Sequence[Arrival]  # in the order in which the server took them
_COLUMNS = pa.schema(
    [
        ("worker", pa.int64()),
        ("version", pa.int64()),
        ("applied", pa.int64()),
        ("arrived", pa.float64()),
        ("seconds", pa.float64()),
        ("steps", pa.int64()),
    ]
)


class Step(NamedTuple):
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


class Clock(Protocol):
    """Tells the arrivals that make each step of the server."""

    def advance(
        self, version: int, cohort: Sequence[int], load: Callable[[int], Load], again: bool
    ) -> Step:
        """Lets time pass until the server steps.

        Args:
            version: of the server, which those who begin now begin from.
            cohort: who may begin. As many as these are at work at a time.
            load: of each of them.
            again: whether one who has sent an update of this version may begin from it again;
                otherwise a worker waits for the next, and a client's place goes to the next one of
                the cohort.
        """
        ...

    def needed(self, versions: Iterable[int]) -> set[int]:
        """Those of the versions that updates yet to arrive began from."""
        ...

    def state(self) -> Tree:
        """All that the rest of the time depends on, as a tree of tensors."""
        ...

    def restore(self, state: Tree) -> None:
        """Goes on from there."""
        ...


class Replay:
    """The arrivals of a trace, again.

    Args:
        trace: from the first step of the server on.
        workers: how many there are, or the clients of the whole federation.

    Raises:
        SpecError: if the trace cannot have happened.
    """

    def __init__(self, trace: Trace, workers: int) -> None:
        self._steps: dict[int, list[Arrival]] = {}
        for arrival in trace:
            self._steps.setdefault(arrival.applied, []).append(arrival)
        _check(trace, workers)
        # The last step that takes an update from each version.
        self._last = {arrival.version: arrival.applied for arrival in trace}
        self._next = 0

    def advance(
        self, version: int, cohort: Sequence[int], load: Callable[[int], Load], again: bool
    ) -> Step:
        """The arrivals of the step that the server made of this version."""
        if version not in self._steps:
            raise SpecError(
                f"the trace has {len(self._steps)} steps of the server, and this is step "
                f"{version + 1}; take fewer --rounds"
            )
        arrivals, self._next = tuple(self._steps[version]), version + 1
        before = self._steps[version - 1][-1].arrived if version else 0.0
        loads = [load(arrival.worker) for arrival in arrivals]
        traffic = Traffic(
            2 * len(loads),
            sum(each.bytes_down for each in loads),
            sum(each.bytes_up for each in loads),
        )
        return Step(arrivals, arrivals[-1].arrived - before, traffic)

    def needed(self, versions: Iterable[int]) -> set[int]:
        """Those of the versions that later arrivals began from."""
        return {version for version in versions if self._last.get(version, -1) >= self._next}

    def state(self) -> Tree:
        """Nothing: the number of the round says it all."""
        return {}

    def restore(self, state: Tree) -> None:
        """Nothing to take up."""


def traced(rows: Mapping[str, Iterable[float]]) -> Trace:
    """The trace that a run's rows tell: the columns of its rounds' clients, one after the other.

    Args:
        rows: the columns ``client``, ``begun`` (the version of the server that the worker began
            from) and ``staleness``, in the order in which the server took the updates.

    Returns:
        The arrivals. Rows do not tell when they were, so that a `Replay` of them takes no time.
    """
    columns = zip(*(rows[name] for name in ("client", "begun", "staleness")), strict=True)
    return [
        Arrival(int(client), int(begun), int(begun + staleness), 0.0)
        for client, begun, staleness in columns
    ]


def write_trace(trace: Trace, uri: str) -> None:
    """Writes a trace as Parquet, a row for each arrival, to a path or a URI."""
    table = pa.Table.from_pylist([arrival._asdict() for arrival in trace], _COLUMNS)
    content = BytesIO()
    parquet.write_table(table, content)
    place = Folder(uri, "trace")
    Folder(place.parent, "trace").write(place.name, content.getvalue())


def read_trace(uri: str) -> Trace:
    """Reads a trace.

    Raises:
        SpecError: if there is none.
    """
    place = Folder(uri, "runtime.replay")
    folder = Folder(place.parent, "runtime.replay")
    if not folder.has(place.name):
        raise SpecError(f"runtime.replay is {uri!r}; there is no such file")
    try:
        rows = parquet.read_table(BytesIO(folder.read(place.name)), schema=_COLUMNS).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"runtime.replay is {uri!r}, which is no trace: {error}") from error
    return [Arrival(**row) for row in rows]


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
