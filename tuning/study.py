"""What every study does: take its runs up again, draw, and end as a command ends."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import pandas as pd
from jsonargparse import auto_cli

import raydl
from raydl import History, Run, SpecError
from raydl.data import Dataset
from raydl.interrupt import Interrupted
from raydl.storage import Folder
from raydl.training import Observer

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row: TypeAlias = dict[str, Any]  # of a table of runs


def command(name: str, studies: Callable[..., Any] | list[Callable[..., Any]]) -> None:
    """Runs a study, or one of several by its name, with the arguments of the command line.

    A mistake of the user is told in one line and ends with 2; a signal ends with 128 + its number.

    Args:
        name: as in ``python -m NAME``.
        studies: functions whose arguments and docstrings make the options and the help.
    """
    try:
        auto_cli(studies)
    except SpecError as error:
        print(f"{name}: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(f"{stopped}; the same command goes on with the study", file=sys.stderr)
        sys.exit(stopped.code)


def take_up(run: Run, observer: Observer | None = None, dataset: Dataset | None = None) -> History:
    """The history of a run that has a name: begun, gone on with, or read back if it is finished."""
    there = (Folder(run.storage) / str(run.name)).has("run.yaml")
    return raydl.run(run, resume=there, observer=observer, dataset=dataset)


@contextmanager
def drawing(file: Path | IO[bytes], panels: int = 1, width: float = 7.0) -> Iterator[list["Axes"]]:
    """Axes side by side; what the block draws in them is written to a PNG file.

    Args:
        file: to write, or to write to.
        panels: how many axes there are.
        width: of the whole figure, in inches.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 4.3), layout="constrained")
    yield list(figure.subplots(1, panels, squeeze=False)[0])
    figure.savefig(file, dpi=150, format="png")


def markdown(table: pd.DataFrame, forms: str | Sequence[str] = ".2f") -> str:
    """A table as Markdown, with a dash where a value is missing.

    Args:
        table: without an index that matters.
        forms: how the numbers that are not whole are written: all, or column by column.
    """
    shown = table.convert_dtypes().astype(object)
    return shown.where(shown.notna(), None).to_markdown(
        index=False, floatfmt=forms, intfmt=",", missingval="–"
    )
