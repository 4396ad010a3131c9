"""What a run leaves: a row for each round, and its summary.

Every count and every second in a row is the run's total so far, so that runs can be laid side by
side at equal samples, equal bytes or equal seconds by choosing a column.

Where a server takes updates one by one, in real time or virtual, their order is kept as well
(``arrivals.parquet``, see `raydl.runtimes.asynchrony.trace`).
"""

import json
from collections.abc import Mapping
from io import BytesIO
from math import isfinite
from typing import Any, TypeAlias

import pandas as pd
import pyarrow as pa
from pyarrow import parquet

from raydl.core.task import Task, TaskSpec
from raydl.data.participations.selector import share_reached
from raydl.round import Round
from raydl.runtimes.asynchrony.trace import TRACE, Arrival, read_trace, trace_of, write_trace
from raydl.runtimes.worker.block import COUNTS
from raydl.runtimes.worker.evaluation import Score
from raydl.storage import Folder

Row: TypeAlias = dict[str, Any]  # a number for each column, None where it has no meaning

COLUMNS = pa.schema(
    [
        ("round", pa.int64()),
        ("clients", pa.int64()),  # of this round's cohort
        ("dropped", pa.int64()),  # updates left out because they were not finite
        ("samples", pa.int64()),
        ("epochs", pa.float64()),  # samples, in passes over the whole training set
        ("local_steps", pa.int64()),
        ("messages", pa.int64()),
        ("bytes_down", pa.int64()),
        ("bytes_up", pa.int64()),
        ("lost", pa.int64()),  # updates that were lost on their way, or with a server's shard
        ("late", pa.int64()),  # updates thrown away: their step of the server was made already
        ("wall_seconds", pa.float64()),
        ("simulated_seconds", pa.float64()),
        ("staleness", pa.float64()),  # steps of the server, mean over this round's updates
        ("max_staleness", pa.int64()),  # likewise, the largest
        ("reached", pa.float64()),  # clients that took part so far, as a share of all
    ]
)
SPLITS = ("train", "val", "test")  # whose metrics follow, float64: train_loss, val_accuracy, ...

_TOTALS = (
    "samples",
    "epochs",
    "local_steps",
    "messages",
    "bytes_down",
    "bytes_up",
    "lost",
    "late",
    "wall_seconds",
    "simulated_seconds",
)


class Record:
    """The rows of a run and where they are written.

    Args:
        folder: folder of the run.
        task: what is learned, whose metrics have columns.
        samples: samples of the training set, which an epoch is counted in.
        rounds: already done, if the run is taken up again: later rows are forgotten.
        writes: whether anything is written down, or the rows are only kept in memory.
    """

    def __init__(
        self, folder: Folder, task: Task, samples: int, rounds: int = 0, *, writes: bool = True
    ) -> None:
        self._folder, self._task = folder, task
        self._samples = samples
        self.rows = [row for row in read_rows(folder) if row["round"] <= rounds] if rounds else []
        self._arrivals: list[Arrival] = []
        if rounds and folder.has(TRACE):
            before = read_trace(folder.uri)
            self._arrivals = [each for each in before if each.round and each.round <= rounds]
        self._writes = writes

    def add(self, done: Round, scores: Mapping[str, Score]) -> Row:
        """Adds a round's row."""
        row: Row = dict.fromkeys((*COLUMNS.names, *metric_columns(self._task)))
        row |= {
            "round": done.number,
            "clients": len(done.clients["client"].unique()),
            "dropped": int((done.clients["finite"] == 0).sum()),
            "samples": done.samples,
            "epochs": done.samples / self._samples,
            "local_steps": done.local_steps,
            "messages": done.messages,
            "bytes_down": done.bytes_down,
            "bytes_up": done.bytes_up,
            "lost": done.lost,
            "late": done.late,
            "wall_seconds": done.wall_seconds,
            "simulated_seconds": done.simulated_seconds,
        }
        if self.rows:
            row |= {name: row[name] + self.rows[-1][name] for name in _TOTALS}
        if "staleness" in done.clients and len(done.clients["staleness"]):
            row["staleness"] = float(done.clients["staleness"].mean())
            row["max_staleness"] = int(done.clients["staleness"].max())
        row["reached"] = share_reached(done.selection)
        row |= {f"train_{name}": done.mean(name) for name in done.clients if name not in COUNTS}
        row |= {f"server_{name}": float(value) for name, value in done.metrics.items()}
        row |= score_columns(self._task.spec, scores)
        self.rows.append(row)
        if "begun" in done.clients:
            columns = {name: each.tolist() for name, each in done.clients.items()}
            self._arrivals += trace_of(columns, done.number)
        return row

    def write(self) -> None:
        """Writes the rows down."""
        if not self._writes:
            return
        content = BytesIO()
        parquet.write_table(_as_table(self.rows), content)
        self._folder.write("metrics.parquet", content.getvalue())
        if self._arrivals:
            write_trace(self._arrivals, (self._folder / TRACE).uri)

    def summarize(self, summary: Mapping[str, Any]) -> None:
        """Writes ``summary.json``."""
        if not self._writes:
            return
        sound = {  # JSON knows no NaN
            key: None if isinstance(value, float) and not isfinite(value) else value
            for key, value in summary.items()
        }
        self._folder.write("summary.json", json.dumps(sound, indent=2).encode())
        self.write()


def metric_columns(task: Task) -> list[str]:
    """The names of the columns of a task's metrics."""
    scored = ("loss", *task.metrics)
    of_split = zip(SPLITS, (("loss", *task.scores), scored, scored), strict=True)
    return [f"{split}_{name}" for split, names in of_split for name in names]


def score_columns(spec: TaskSpec, scores: Mapping[str, Score]) -> Row:
    """Scores by split (``val``, ``test``) as a row's columns."""
    return {
        f"{split}_{metric}": value
        for split, score in scores.items()
        for metric, value in score.metrics(spec).items()
    }


def table_of(rows: list[Row]) -> pd.DataFrame:
    """The rows as a table of the types in `COLUMNS`, NaN where a value is missing."""
    table: pd.DataFrame = _as_table(rows).to_pandas()
    return table


def _as_table(rows: list[Row]) -> pa.Table:
    metrics = dict.fromkeys(name for row in rows for name in row if name not in COLUMNS.names)
    columns = [*COLUMNS, *(pa.field(name, pa.float64()) for name in metrics)]
    return pa.Table.from_pylist(rows, pa.schema(columns))


def read_rows(folder: Folder) -> list[Row]:
    """The rows of a run's folder; none if there are none yet."""
    if not folder.has("metrics.parquet"):
        return []
    rows: list[Row] = parquet.read_table(BytesIO(folder.read("metrics.parquet"))).to_pylist()
    return rows
