"""What a person sees of a run in a terminal."""

from math import inf
from typing import Any, Self

import numpy as np
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from raydl.config.run import Run
from raydl.run_folder.record import Row
from raydl.runtimes.problem import Problem
from raydl.storage import Folder
from raydl.training import Callback


class Live(Callback):
    """A line about the run, and a bar that moves with its rounds; without a terminal, plain lines.

    Use it as a context manager around `raydl.run`.

    Attributes:
        path: path of the run's folder, once it has begun.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._printed = -1
        self.path = ""

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Moves the bar no more, so that other things can be printed."""
        self._bar.stop()

    def on_runtime(self, reason: str) -> None:
        """Says why the runtime is the one."""
        self._console.print(
            f"runtime chosen by measuring: {reason}", highlight=False, soft_wrap=True
        )

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Says what is trained, on what, where."""
        self._run, self.path = run, folder.uri
        assert run.model is not None
        parameters = sum(each.numel() for each in problem.task.model.parameters())
        who = "clients" if run.workers is None else "workers"
        many = f"{run.population} {who}, " if run.population > 1 else ""
        self._console.print(
            f"[bold]{type(run.algorithm).__name__}[/] on {problem.dataset.name}: {many}"
            f"{len(problem.dataset.train.targets):,} samples, {run.model.name} with "
            f"{parameters:,} parameters, {type(run.runtime).__name__}\n{folder.uri}",
            highlight=False,
            soft_wrap=True,
        )
        self._task = self._bar.add_task("starting", total=1, figures="")

    def on_round(self, row: Row) -> None:
        """Moves the bar, or without a terminal prints a tenth of the rounds."""
        figures = f"loss {row['train_loss']:.3f}"
        if row["val_accuracy"] is not None:
            figures += f"  validation {100 * row['val_accuracy']:.1f} %"
        last, number = self._run.last_round, int(row["round"] or 0)
        done, name = number / (last or inf), f"round {number}" + (f"/{last}" if last else "")
        if self._run.epochs is not None:
            done = max(done, (row["epochs"] or 0) / self._run.epochs)
            name += f", epoch {row['epochs']:.1f}/{self._run.epochs:g}"
        self._bar.update(self._task, description=name, completed=done, figures=figures)
        if not self._console.is_terminal and int(10 * done) > self._printed:
            self._printed = int(10 * done)
            self._console.print(f"{name}  {figures}", highlight=False)


_UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))


def table(summaries: dict[str, dict[str, Any]]) -> Table:
    """The summaries of runs side by side, by name."""
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    for name in summaries:
        shown.add_column(name, justify="right", overflow="fold")
    for key in dict.fromkeys(key for summary in summaries.values() for key in summary):
        name = key if "." in key else key.replace("_", " ")  # an option as it is given
        shown.add_row(name, *(_figure(key, each.get(key)) for each in summaries.values()))
    return shown


def _figure(key: str, value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        shown = str(value)
        return shown[:16] + "…" if len(shown) > 32 else shown
    if key.endswith("accuracy"):
        return f"{100 * value:.2f} %"
    if key.startswith("bytes"):
        size, unit = next((each for each in _UNITS if value >= each[0]), _UNITS[-1])
        return f"{value / size:,.1f} {unit}"
    if key.endswith("seconds"):
        return f"{_round(value)} s"
    if key == "price":
        return _round(value)
    return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"


def _round(value: float) -> str:
    """With two decimals, or as many as a small number needs."""
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.3g}"


def partition_table(counts: np.ndarray, title: str) -> Table:
    """How sizes and labels fall over the clients; ``counts`` is int [clients, classes]."""
    shown = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in ("", "least", "median", "most"):
        shown.add_column(column, justify="right" if column else "left")
    sizes = counts.sum(1)
    largest = counts.max(1) / np.maximum(sizes, 1)
    for name, values, form in (
        ("samples of a client", sizes, "{:,.0f}"),
        ("labels of a client", (counts > 0).sum(1), "{:,.0f}"),
        ("share of its largest label", 100 * largest, "{:.0f} %"),
    ):
        figures = (np.min(values), np.median(values), np.max(values))
        shown.add_row(name, *(form.format(each) for each in figures))
    shown.add_row("samples in all", "", f"{sizes.sum():,}", "")
    return shown
