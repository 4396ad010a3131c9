"""``raydl show``: runs in rows, the metric first, with the settings that set them apart."""

import json
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Any, Literal

import pandas as pd
from rich.console import Console
from rich.table import Table

from raydl.cli.arguments import take_option
from raydl.core.errors import SpecError, unknown
from raydl.run_folder.results.comparison import StoredRun, by_kind, differing, runs_of
from raydl.run_folder.results.wording import Measure, title
from raydl.run_folder.resumption import find_run
from raydl.storage import Folder

_COSTS = ("train_loss", "rounds", "wall_seconds", "bytes_up")
_LATE = ("dropped", "lost", "late")
_ELSEWHERE = ("finished", "best_round")  # what other columns say
_MEAN = "mean of"
_TOLD = 6  # columns that there is no room for


def main(argv: list[str]) -> int:
    """Prints what runs came to, and in which settings they differ."""
    as_json, as_csv = "--json" in argv, "--csv" in argv
    argv = [each for each in argv if each not in ("--json", "--csv")]
    storage, argv = take_option(argv, "--storage")
    sort, argv = take_option(argv, "--sort")
    if wrong := next((each for each in argv if each.startswith("-")), None):
        raise unknown("option", wrong, ["--storage", "--sort", "--csv", "--json"])
    runs = _runs(argv, storage)
    table = _table(runs)
    if sort is not None:
        runs, table = _sorted(runs, table, sort)
    if as_json:
        print(json.dumps({run.name: _as_json(run) for run in runs}, indent=2))
    elif as_csv:
        print(pd.DataFrame(table).to_csv(index=False), end="")
    else:
        _print(runs, table)
    return 0


def _runs(named: Sequence[str], storage: str | None) -> list[StoredRun]:
    if named:
        return [StoredRun.read(each, find_run(each, storage)) for each in named]
    folder = Folder(storage or "runs")
    if not (runs := runs_of(folder)):
        raise SpecError(
            f"there is no run in {folder.uri!r}; name runs, or the folder that holds them: raydl "
            "show RUN ... or raydl show --storage FOLDER"
        )
    return runs


def _as_json(run: StoredRun) -> dict[str, Any]:
    return {
        "settings": run.settings,
        "summary": run.figures,
        "finished": run.summary is not None,
    }


def _table(runs: Sequence[StoredRun]) -> list[dict[str, Any]]:
    """A row for each run, by column, with the columns that any of them has a value in."""
    apart = differing(runs)
    metrics = dict.fromkeys(run.measure.best for run in runs)
    scores = [f"{split}_{name}" for name in metrics for split in ("test", "best_val")]
    spare = [name for name in _LATE if any(run.figures.get(name) for run in runs)]
    columns = [*scores, "best_round", *_COSTS, *spare]
    rows = [
        {"run": run.name}
        | {name: run.figures.get(name) for name in columns}
        | {key: run.settings.get(key) for key in apart if key not in columns}
        | {"finished": run.summary is not None}
        for run in runs
    ]
    empty = [key for key in columns if all(row[key] is None for row in rows)]
    return [{key: each for key, each in row.items() if key not in empty} for row in rows]


def _sorted(
    runs: list[StoredRun], table: list[dict[str, Any]], sort: str
) -> tuple[list[StoredRun], list[dict[str, Any]]]:
    """Both by a column: of a metric the best first, of anything else the least."""
    if sort not in table[0]:
        raise unknown("column", sort, table[0])

    def rank(at: int) -> tuple[bool, float, str]:
        value, measure = table[at][sort], runs[at].measure
        number = float(value) if isinstance(value, int | float) else inf
        falling = measure.higher_is_better and sort.endswith(f"_{measure.best}")
        return value is None, -number if falling else number, str(value)

    order = sorted(range(len(runs)), key=rank)
    return [runs[at] for at in order], [table[at] for at in order]


def _print(runs: Sequence[StoredRun], table: Sequence[dict[str, Any]]) -> None:
    """Prints the rows, in a terminal with as many of the columns as it has room for."""
    columns = {each: _heading(each) for each in table[0] if each not in _ELSEWHERE}
    rows = _rows(runs, table, [*columns])
    wide = {
        column: max(map(len, [*heading.split("\n"), *(row[column] for row in rows)]))
        for column, heading in columns.items()
    }
    console = Console()
    if not console.is_terminal:
        console = Console(width=sum(wide.values()) + 2 * len(wide))
    left_out = []
    for column in sorted(columns, key=partial(_rank, table), reverse=True):
        if sum(wide.values()) + 2 * len(wide) > console.width and column != "run":
            left_out.append(column)
            del wide[column]
    shown = Table(box=None, pad_edge=False, header_style="bold")
    for column in wide:
        justify: Literal["left", "right"] = "left" if column == "run" else "right"
        shown.add_column(columns[column], justify=justify, no_wrap=True)
    for row in rows:
        style = "bold" if row["run"].startswith(_MEAN) else ""
        shown.add_row(*(row[column] for column in wide), style=style)
    console.print(shown)
    if left_out:
        named = [column for column in columns if column in left_out]
        told = ", ".join(named[:_TOLD]) + (", ..." if len(named) > _TOLD else "")
        console.print(f"\n{len(named)} more in --csv or a wider window: {told}", highlight=False)


def _heading(column: str) -> str:
    """A column in words below one another; an option as it is given."""
    if "." in column:
        return column.replace(".", ".\n")
    return title(column).replace(" ", "\n")


def _rank(table: Sequence[dict[str, Any]], column: str) -> tuple[int, int]:
    """How soon a column gives way to others: last the scores, first what few of the runs have."""
    missing = sum(row[column] is None for row in table)
    if column == "run" or column.startswith(("test_", "best_")):
        return 0, 0
    if column == "rounds" or (column.endswith(".name") and not missing):
        return 1, missing
    return (3 if missing else 2), missing


def _rows(
    runs: Sequence[StoredRun], table: Sequence[dict[str, Any]], columns: Sequence[str]
) -> list[dict[str, str]]:
    """The cells in words: runs that differ in seed alone one below the other, then their mean."""
    of, rows = {run.name: row for run, row in zip(runs, table, strict=True)}, []
    for group in by_kind(runs):
        told = [of[run.name] for run in group]
        for run, row in zip(group, told, strict=True):
            rows.append({column: _cell(run, row, column) for column in columns})
        if len(group) > 1:
            rows.append({column: _mean(group[0].measure, told, column) for column in columns})
    return rows


def _cell(run: StoredRun, row: dict[str, Any], column: str) -> str:
    value = row[column]
    if column == "run":
        return str(value) if run.summary is not None else f"{value} (unfinished)"
    if column == "rounds" and run.summary is None:
        return f"{value} of {run.planned}"
    text = run.measure.text(column, value)
    if column.startswith("best_val_") and value is not None and row.get("best_round"):
        text += f" ({row['best_round']})"
    return text


def _mean(measure: Measure, rows: Sequence[dict[str, Any]], column: str) -> str:
    """Mean and standard deviation (n - 1) over seeds, of what is not the same in all of them."""
    values = [row[column] for row in rows]
    if column == "run":
        return f"{_MEAN} {len(rows)} seeds"
    if column == "seed":
        return ""
    if len({*map(str, values)}) == 1:
        return measure.text(column, values[0])
    if "." in column or not all(isinstance(each, int | float) for each in values):
        return ""
    numbers = pd.Series(values, dtype=float)
    return measure.spread(column, float(numbers.mean()), float(numbers.std()))
