"""A grid of runs, each of which leaves one row in a table that can be taken elsewhere.

A finished run's row is in ``results.csv`` as soon as the run ends, and a run that has its row is
not done again: with that file alone, a study goes on on another machine. A run that was interrupted
goes on from its own folder.
"""

import os
import signal
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from io import BytesIO
from multiprocessing import active_children, get_context, parent_process
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import NamedTuple, TypeAlias

import pandas as pd
import pyarrow as pa
from pyarrow import csv
from rich.console import Console

import raydl
from raydl import Callback, Run
from raydl.callbacks import Live
from raydl.core.errors import SpecError, require
from raydl.round import NonFiniteError
from raydl.signals import Interrupted, stoppable
from raydl.storage import Folder
from tuning.metric import ACCURACY, Metric
from tuning.output import TableRow

RESULTS = "results.csv"
FIGURES = (  # of a run, beside what it scores by its metric
    "train_loss",
    "val_loss",
    "test_loss",
    "samples",
    "local_steps",
    "messages",
    "bytes_down",
    "bytes_up",
    "wall_seconds",
    "fingerprint",
)
_LOOK = 1.0  # seconds between two looks at whether to stop


CellSettings: TypeAlias = Mapping[str, str | int | float]  # of a run, a column each


class Cell(NamedTuple):
    """One run of a grid.

    Attributes:
        run: with a name, under which it has its folder and its row.
        settings: what tells it from the others, a column each; the same ones for the whole grid.
    """

    run: Run
    settings: CellSettings


@dataclass(frozen=True)
class Grid:
    """Runs side by side.

    Args:
        cells: in the order in which they are done.
        folder: of ``results.csv``, which may hold rows of other grids too.
        processes: number of runs that are done at the same time, each in a process of its own; a
            single one is done in this process, with a bar.
        console: is told of every run.
        metric: of the runs' task, by which they are compared.

    Raises:
        SpecError: if ``processes`` is below 1.
    """

    cells: Sequence[Cell]
    folder: Path
    processes: int
    console: Console
    metric: Metric = ACCURACY

    def __post_init__(self) -> None:
        require(self.processes >= 1, "processes", self.processes, "1 or larger")

    @property
    def _figures(self) -> tuple[str, ...]:
        best = (self.metric.column_of(split) for split in ("val", "test"))
        return tuple(dict.fromkeys((*best, *FIGURES)))

    def results(self) -> Iterator[pd.DataFrame]:
        """Does the runs that have no row yet.

        Yields:
            The rows that there are, in the grid's order: name, settings, outcome (``finished`` or
            ``diverged``), the metric in validation and on the test set, `FIGURES`, and the run's
            seed. All that a run came to are floats but the fingerprint, and missing for a run that
            diverged. Once at first, if there are any, and again after every run.

        Raises:
            SpecError: if there is a row of a cell's name with other settings, or a run cannot be
                done as described.
            Interrupted: after SIGINT or SIGTERM, when the rounds in hand are written down.
        """
        folder = Folder(str(self.folder), field="output")
        rows = {row["name"]: row for row in _read(folder)}
        for cell in self.cells:
            self._check(cell, rows.get(str(cell.run.name)))
        missing = [cell for cell in self.cells if cell.run.name not in rows]
        if len(missing) < len(self.cells):
            yield self._table(rows)
        for cell, outcome in self._outcomes(missing):
            row = {"name": cell.run.name, **cell.settings}
            row |= {name: outcome.get(name) for name in ("outcome", *self._figures)}
            rows[str(cell.run.name)] = row
            folder.write(
                RESULTS, pd.DataFrame(rows.values(), dtype=object).to_csv(index=False).encode()
            )
            table = self._table(rows)
            self.console.print(
                f"{len(table)}/{len(self.cells)}  {self._line(row)}",
                highlight=False,
                soft_wrap=True,
            )
            yield table

    def _outcomes(self, cells: list[Cell]) -> Iterator[tuple[Cell, TableRow]]:
        if self.processes > 1 and len(cells) > 1:
            yield from _side_by_side(cells, self.processes)
            return
        for cell in cells:
            with Live(self.console) as live:
                outcome = _outcome(cell.run, live)
            yield cell, outcome

    def _table(self, rows: Mapping[str, TableRow]) -> pd.DataFrame:
        seeds = {str(cell.run.name): cell.run.seed for cell in self.cells}
        table = pd.DataFrame(
            [rows[name] | {"seed": seed} for name, seed in seeds.items() if name in rows]
        )
        numbers = [name for name in self._figures if name != "fingerprint"]
        return table.astype(dict.fromkeys(numbers, float))

    def _line(self, row: TableRow) -> str:
        if row["outcome"] == "diverged":
            return f"{row['name']}: diverged"
        reached = (
            f"{name} {self.metric} {self.metric.text(value)}"
            for split, name in (("val", "validation"), ("test", "test"))
            if (value := row[self.metric.column_of(split)]) is not None  # it may have no samples
        )
        return f"{row['name']}: {', '.join(reached)}, {row['wall_seconds']:,.0f} s"

    def _check(self, cell: Cell, row: TableRow | None) -> None:
        then = {} if row is None else {name: row.get(name) for name in cell.settings}
        changed = [
            f"{name} was {value}, is {cell.settings[name]}"
            for name, value in then.items()
            if value != cell.settings[name]
        ]
        if changed:
            raise SpecError(
                f"{self.folder / RESULTS} has a row {cell.run.name!r} with other settings: "
                f"{'; '.join(changed)}. Remove the row and the run's folder to do it again, "
                "or name another --output"
            )


def _read(folder: Folder) -> list[TableRow]:
    """The rows of ``results.csv``, None where a value is missing; none if there is no such file."""
    if not folder.has(RESULTS):
        return []
    text = {name: pa.string() for name in ("name", "fingerprint")}
    types = csv.ConvertOptions(column_types=text, strings_can_be_null=True)
    rows: list[TableRow] = csv.read_csv(
        BytesIO(folder.read(RESULTS)), convert_options=types
    ).to_pylist()
    return rows


def _outcome(run: Run, callback: Callback | None = None) -> TableRow:
    """What came of a run: whether it finished, and its summary."""
    try:
        summary = raydl.run(run, resume="auto", callback=callback).summary
    except NonFiniteError:
        return {"outcome": "diverged"}
    return {"outcome": "finished"} | summary


def _side_by_side(cells: Sequence[Cell], processes: int) -> Iterator[tuple[Cell, TableRow]]:
    """Outcomes as they come; asked to stop, the runs in hand end with their rounds."""
    cells[0].run.data.load()  # downloads it once, and tells what is wrong with it before any work
    waiting, running = deque(cells), dict[Future[TableRow], Cell]()
    stopped: Interrupted | None = None
    context, others = get_context("spawn"), active_children()
    with stoppable() as stop, ProcessPoolExecutor(processes, context, _prepare_process) as pool:
        try:
            while running or (waiting and not stop.signal):
                # No more than can begin at once: one that waits in the pool cannot be called back.
                while waiting and len(running) < processes and not stop.signal:
                    cell = waiting.popleft()
                    running[pool.submit(_outcome, cell.run)] = cell
                done, _ = wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED)
                for future in done:
                    cell = running.pop(future)
                    try:
                        outcome = future.result()
                    except Interrupted as error:
                        stopped = error
                    else:
                        yield cell, outcome
                if stop.signal:  # again and again: a run that is being set up does not hear it
                    _signal_processes(signal.SIGINT, others)
        except BaseException:
            _signal_processes(signal.SIGKILL, others)  # their checkpoints are sound at any instant
            raise
    if stop.signal and (stopped or waiting):
        following = f"{waiting[0].run.storage}/{waiting[0].run.name}" if waiting else ""
        path, number = (stopped.path, stopped.round) if stopped else (following, 0)
        raise Interrupted(stop.signal, path, number)


def _prepare_process() -> None:
    """Leaves Ctrl-C to the runs, and ends with the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _signal_processes(number: signal.Signals, others: Sequence[BaseProcess]) -> None:
    """Sends a signal to the children that are not the others."""
    for child in active_children():
        if child not in others and child.pid is not None:
            os.kill(child.pid, number)
