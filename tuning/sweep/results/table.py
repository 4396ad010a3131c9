"""The table of a sweep's trials, which survives any interruption.

A trial's number and its settings are in ``trials.parquet`` before it begins, and its outcome as
soon as it has one.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any, Protocol

import pandas as pd

from raydl.callbacks.loggers.tensorboard import Board
from raydl.storage import Folder
from tuning.metric import Metric, finite
from tuning.output import TableRow
from tuning.sweep import lineage
from tuning.sweep.lineage import Stage
from tuning.sweep.space import Settings, Space
from tuning.sweep.trial import OUTCOME, home_of, reported

FILE = "trials.parquet"


class Watcher(Protocol):
    """Is told how the trials go on."""

    def on_change(self, rows: Sequence[TableRow]) -> None:
        """Some trial's figures have."""

    def on_end(self, row: TableRow, rows: Sequence[TableRow]) -> None:
        """A trial has its outcome."""


class TrialTable:
    """The rows of the trials, as they are in the file.

    A row holds the number; the swept fields, as they are in the trial's last stage; outcome
    (``finished``; ``stopped`` by the scheduler; ``diverged``; ``failed``; ``begun`` if it has none
    yet); reason; the figures of the last scored round, None where there is no finite one; and
    stages, as JSON.

    Args:
        folder: of the trials.
        space: of their settings.
        metric: by which they are compared.
        stopper: what stops trials, in words.
        watcher: is told how it goes on.
    """

    def __init__(
        self, folder: Folder, space: Space, metric: Metric, stopper: str, watcher: Watcher
    ) -> None:
        self.folder, self.space, self.metric = folder, space, metric
        self._reported, self._tested = reported(metric), metric.columns("test")
        self._stopper, self._watcher = stopper, watcher
        self._rows = {row["number"]: row for row in _read(folder)}

    @property
    def rows(self) -> list[TableRow]:
        """Of all the trials, in the order of their numbers."""
        return [self._rows[number] for number in sorted(self._rows)]

    def ended_numbers(self) -> frozenset[int]:
        """The numbers of the trials that have their outcome."""
        return frozenset(n for n, row in self._rows.items() if row["outcome"] != "begun")

    def begin(self, number: int, settings: Settings) -> None:
        """Writes a trial down before it begins, or that it goes on with other settings."""
        row = self._rows.get(number)
        if row is None:
            self._rows[number] = {
                "number": number,
                **settings,
                "outcome": "begun",
                "reason": None,
                **dict.fromkeys(self._reported + self._tested),
                "stages": json.dumps([Stage(0, settings)]),
            }
        elif row["outcome"] != "begun" or self.space.settings(row) == settings:
            return
        else:
            row |= settings
        self._write()

    def score(self, number: int, result: Mapping[str, Any]) -> None:
        """Takes a trial's figures, unless it has its outcome and only repeats them."""
        row = self._rows[number]
        if row["outcome"] == "begun":
            row |= {name: finite(result.get(name)) for name in self._reported}
            self._watcher.on_change(self.rows)

    def end(self, number: int, reason: str | None = None) -> None:
        """Writes a trial's outcome down; ``reason`` is of a process that was lost."""
        row = self._rows[number]
        if row["outcome"] != "begun":
            return
        place = lineage.newest(home_of(self.folder, number))
        stages = lineage.read(place, self.space.settings(row))
        row |= stages[-1].settings | {"stages": json.dumps(stages)}
        row |= self._outcome(place, reason)
        self._write()
        if row["outcome"] != "finished" and row[self.metric.column] is not None:
            self._add_hparams(place, row)
        self._watcher.on_end(row, self.rows)

    def _outcome(self, place: Folder, reason: str | None) -> TableRow:
        if reason is not None:
            return {"outcome": "failed", "reason": reason}
        if place.has(OUTCOME):
            return dict(json.loads(place.read(OUTCOME)))
        if place.has("summary.json"):
            summary = json.loads(place.read("summary.json"))
            known = {"round": summary["rounds"]} | summary
            figures = {name: known[name] for name in self._reported + self._tested}
            return {"outcome": "finished"} | figures
        return {"outcome": "stopped", "reason": f"by the scheduler ({self._stopper})"}

    def _add_hparams(self, place: Folder, row: TableRow) -> None:
        """Fills TensorBoard's HParams tab for a trial that did not finish, as others do it."""
        board = Board(place, int(row["round"]))
        board.hparams(self.space.settings(row), self.metric.columns("val"))
        board.close()

    def _write(self) -> None:
        table = pd.DataFrame(self.rows)
        for field in self.space.fields:
            if field not in self.space.numeric:  # one column holds values of one type
                table[field] = table[field].astype(str)
        content = BytesIO()
        table.to_parquet(content, index=False)
        self.folder.write(FILE, content.getvalue())


def stages_of(row: TableRow) -> list[Stage]:
    """The stages that a trial went through."""
    return [Stage(*each) for each in json.loads(row["stages"])]


def best_of(rows: Sequence[TableRow], metric: Metric) -> TableRow | None:
    """The finished trial that did best in validation, of equal ones the first; None if none did."""
    scored = [
        row for row in rows if row["outcome"] == "finished" and row[metric.column] is not None
    ]
    return max(scored, key=lambda row: metric.score(row[metric.column]), default=None)


def in_words(row: TableRow, metric: Metric) -> str:
    """What became of a trial, in a few words."""
    if row["outcome"] in ("diverged", "failed"):
        return f"{row['outcome']}: {row['reason']}"
    value = row[metric.column]
    if value is None:
        scored = "not scored yet" if row["outcome"] == "begun" else f"no {metric}"
    else:
        scored = f"validation {metric} {metric.text(value)}"
    return scored if row["outcome"] in ("begun", "finished") else f"{scored}, {row['outcome']}"


def _read(folder: Folder) -> Iterator[TableRow]:
    """The table's rows; none if there is no table yet."""
    if folder.has(FILE):
        table = pd.read_parquet(BytesIO(folder.read(FILE)))
        for row in table.astype(object).where(table.notna(), None).to_dict("records"):
            named = {str(name): value for name, value in row.items()}
            yield named | stages_of(named)[-1].settings
