"""Loggers: callbacks that keep a run's figures somewhere, one product a module."""

from math import isfinite
from typing import TYPE_CHECKING, Any

from raydl.callbacks.callback import Callback
from raydl.config import options
from raydl.config.run import Run
from raydl.run_folder.record import Row
from raydl.run_folder.results.wording import SPLITS, Measure
from raydl.run_folder.resumption import CHANGEABLE_ON_RESUME
from raydl.runtimes.problem import Problem
from raydl.storage import Folder

if TYPE_CHECKING:
    from raydl.training_loop import History

_RARE = ("simulated_seconds", "dropped", "lost", "late")  # 0 in most runs, without a chart there
_TOTALS = ("samples", "epochs", "local_steps", "messages", "bytes_down", "bytes_up", "lost", "late")


class Logger(Callback):
    """What loggers have in common: they are flushed when the run is written down, and at its end.

    A subclass says what it does by `open`, `log`, `flush`, `end` and `close`.

    Attributes:
        run: as it is written to ``run.yaml``.
        problem: what is to be learned.
        folder: folder of the run.
        measure: by what it is judged.
        opened: whether there is something to be closed.
    """

    run: Run
    problem: Problem
    folder: Folder
    measure: Measure

    def __init__(self) -> None:
        self._last: Row | None = None
        self.opened = False

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Begins the log."""
        self.run, self.problem, self.folder = run, problem, folder
        self.measure = Measure.of(problem.task.spec)
        self.open()
        self.opened = True

    def on_round(self, row: Row) -> None:
        """Logs the round, and flushes when a checkpoint falls."""
        before, self._last = self._last, row
        self.log(row)
        passed = 0.0 if before is None else before["epochs"]
        every = self.run.checkpoint.every
        if self.run.due(every, 10, row["round"], passed, row["epochs"]):
            self.flush()

    def on_end(self, history: "History") -> None:
        """Logs what came of the run."""
        self.end(history)
        self.close()

    def on_error(self, error: BaseException) -> None:
        """Keeps what there is."""
        if self.opened:
            self.close(error)

    def open(self) -> None:
        """Begins the log, or goes on with that of a run that is taken up again."""

    def log(self, row: Row) -> None:
        """Takes a round; after a failure of the run one that it has, which counts anew."""

    def flush(self) -> None:
        """Makes what was logged so far visible, and safe."""

    def end(self, history: "History") -> None:
        """Takes the outcome."""

    def close(self, error: BaseException | None = None) -> None:
        """Ends the log; ``error`` is what ended the run, if it was no success."""


def settings_of(run: Run) -> dict[str, Any]:
    """What the numbers of a run follow from, dotted, without what is null."""
    flat = options.flatten(options.to_mapping(run))
    return {
        name: value
        for name, value in flat.items()
        if name not in CHANGEABLE_ON_RESUME and value is not None
    }


def charts(row: Row, before: Row | None, rate: float | None) -> dict[str, float]:
    """A row as charts by name, ``METRIC/SPLIT`` first; only of what there is a number, or any.

    Args:
        row: the round's.
        before: that of the round before.
        rate: the learning rate, if it is known.
    """
    shown: dict[str, float] = {}
    for name, value in row.items():
        if value is not None and name != "round" and (value or name not in _RARE):
            shown[chart(name)] = float(value)
    if rate is not None:
        shown["run/learning_rate"] = rate
    if before is None or before["round"] == row["round"] - 1:
        seconds = row["wall_seconds"] - (before["wall_seconds"] if before else 0.0)
        samples = row["samples"] - (before["samples"] if before else 0)
        if before is not None or row["round"] == 1:
            shown["run/seconds_per_round"] = seconds
            shown["run/samples_per_second"] = samples / seconds if seconds else 0.0
    return {name: value for name, value in shown.items() if isfinite(value)}


def chart(column: str) -> str:
    """The chart of a column: ``accuracy/validation`` of ``val_accuracy``."""
    split, _, metric = column.partition("_")
    if split in SPLITS and metric:
        return f"{metric}/{SPLITS[split]}"
    if split == "server" and metric:
        return f"server/{metric}"
    return f"totals/{column}" if column in _TOTALS else f"run/{column}"
