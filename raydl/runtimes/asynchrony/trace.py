"""Traces: in which order a server took its workers' updates, and from which version each began.

They are made of the rows of a run, or by a virtual clock, and lie in a run's folder as Parquet, a
row for each update.
"""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isnan, nan
from operator import attrgetter
from typing import NamedTuple, TypeAlias

import pyarrow as pa
from pyarrow import parquet

from raydl.core.errors import SpecError
from raydl.storage import Folder


class Arrival(NamedTuple):
    """An update that the server took.

    Attributes:
        worker: whose.
        version: of the server, that the worker began from.
        applied: the version of the server that took it, so that it is ``applied − version`` stale.
        arrived: when, in seconds since the run began.
        seconds: since the worker began.
        steps: local steps behind it; None for as many as were planned.
        first: local steps that the worker had taken before, of one with a pace of its own; None if
            it went on where its update before had ended.
        round: of the run, that the update was taken in; None if that is not known.
    """

    worker: int
    version: int
    applied: int
    arrived: float
    seconds: float = 0.0
    steps: int | None = None
    first: int | None = None
    round: int | None = None


Trace: TypeAlias = Sequence[Arrival]  # in the order in which the server took them
TRACE = "arrivals.parquet"  # in a run's folder
_COLUMNS = pa.schema(
    [
        ("worker", pa.int64()),
        ("version", pa.int64()),
        ("applied", pa.int64()),
        ("arrived", pa.float64()),
        ("seconds", pa.float64()),
        ("steps", pa.int64()),
        ("first", pa.int64()),
        ("round", pa.int64()),
    ]
)


def trace_of(rows: Mapping[str, Sequence[float]], number: int | None = None) -> Trace:
    """The trace that a run's rows tell: the columns of its rounds' clients, one after the other.

    Args:
        rows: the columns ``client``, ``begun`` (the version of the server that the worker began
            from) and ``staleness``, in the order in which the server took the updates; and if they
            are known ``arrived`` and ``seconds``, ``cut`` (the steps of those that took fewer than
            planned, NaN of the others) and ``first``, see `Arrival`.
        number: number of the round that they are of; None if they are of several.

    Returns:
        The arrivals. Where rows do not tell when they were, a replay of them takes no time.
    """
    count, timed = len(rows["client"]), "arrived" in rows
    optional = {"arrived": 0.0, "cut": nan, "first": nan}
    columns = (
        *(rows[name] for name in ("client", "begun", "staleness")),
        rows["seconds"] if timed else [0.0] * count,
        *(rows.get(name, [missing] * count) for name, missing in optional.items()),
    )
    arrivals = [
        Arrival(
            worker=int(client),
            version=int(begun),
            applied=int(begun + staleness),
            arrived=arrived,
            seconds=seconds,
            steps=None if isnan(cut) else int(cut),
            first=None if isnan(first) else int(first),
            round=number,
        )
        for client, begun, staleness, seconds, arrived, cut, first in zip(*columns, strict=True)
    ]
    # With a barrier the rows of a step are in the order of the cohort.
    return sorted(arrivals, key=attrgetter("applied", "arrived"))


def write_trace(trace: Trace, uri: str) -> None:
    """Writes a trace as Parquet, a row for each arrival, to a path or a URI."""
    table = pa.Table.from_pylist([arrival._asdict() for arrival in trace], _COLUMNS)
    content = BytesIO()
    parquet.write_table(table, content)
    place = Folder(uri, "trace")
    Folder(place.parent, "trace").write(place.name, content.getvalue())


def read_trace(uri: str) -> Trace:
    """Reads a trace, of a file or of a run's folder.

    Raises:
        SpecError: if there is none.
    """
    place = Folder(uri, "runtime.replay")
    if place.has(TRACE):
        place /= TRACE
    folder = Folder(place.parent, "runtime.replay")
    if not folder.has(place.name):
        raise SpecError(
            f"runtime.replay is {uri!r}; there is no such file, nor is it the folder of a run that "
            f"left {TRACE}"
        )
    try:
        rows = parquet.read_table(BytesIO(folder.read(place.name)), schema=_COLUMNS).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise SpecError(f"runtime.replay is {uri!r}, which is no trace: {error}") from error
    return [Arrival(**row) for row in rows]
