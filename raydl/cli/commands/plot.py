"""``raydl plot``: runs laid over one another, over what they cost."""

from pathlib import Path

from rich.console import Console

from raydl.cli.arguments import take_option
from raydl.core.environment.extras import check_plots
from raydl.core.errors import SpecError, require, unknown
from raydl.run_folder.results.comparison import StoredRun, by_kind, labels
from raydl.run_folder.results.curves import plot_runs
from raydl.run_folder.results.wording import title
from raydl.run_folder.resumption import find_run

_ACROSS = ("round", "samples", "epochs", "bytes_up", "bytes_down", "simulated_seconds")
_ALSO_ACROSS = ("wall_seconds", "local_steps", "messages")
_FORMATS = (".png", ".svg", ".pdf")


def main(argv: list[str]) -> int:
    """Draws runs into a file, a line for each; those that differ in seed alone as mean and band."""
    check_plots("raydl plot")
    storage, argv = take_option(argv, "--storage")
    x, argv = take_option(argv, "--x")
    y, argv = take_option(argv, "--y")
    out, argv = take_option(argv, "--out")
    if wrong := next((each for each in argv if each.startswith("-")), None):
        raise unknown("option", wrong, ["--storage", "--x", "--y", "--out"])
    if not argv:
        raise SpecError("raydl plot needs one run or more: raydl plot RUN ... --x bytes_up")
    x, file = x or "round", Path(out or "runs.png")
    require(x in _ACROSS + _ALSO_ACROSS, "--x", x, f"one of {', '.join(_ACROSS + _ALSO_ACROSS)}")
    sound = file.suffix in _FORMATS and file.parent.is_dir()
    allowed = f"a file in a folder that exists, and end in {', '.join(_FORMATS)}"
    require(sound, "--out", str(file), allowed)
    runs = [StoredRun.read(each, find_run(each, storage)) for each in dict.fromkeys(argv)]
    y = y or f"val_{runs[0].measure.best}"
    tables = {run.name: run.table for run in runs}
    for name, table in tables.items():
        _check(name, table.columns[table.notna().any()].tolist(), x, y)
    groups = by_kind(runs)
    shown = dict(zip(labels(groups), groups, strict=True))
    headings = {run.heading for run in runs}
    common = headings.pop() if len(headings) == 1 else ""
    figure = plot_runs(
        {label: [tables[run.name] for run in group] for label, group in shown.items()},
        x,
        y,
        runs[0].measure,
        common or f"{title(y).capitalize()} over {title(x)}",
    )
    figure.savefig(file)
    Console().print(str(file), highlight=False, soft_wrap=True)
    return 0


def _check(run: str, columns: list[str], x: str, y: str) -> None:
    """Raises a SpecError unless a run has values in both columns."""
    known = [each for each in columns if each.partition("_")[0] in ("train", "val", "test")]
    for column, allowed in ((x, [*_ACROSS, *_ALSO_ACROSS]), (y, known)):
        if column not in columns:
            there = ", ".join(each for each in allowed if each in columns)
            raise SpecError(f"run {run!r} has no {column}; it has {there}")
