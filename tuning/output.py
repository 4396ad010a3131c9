"""Tables and plots of runs, and how they are written."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

import pandas as pd

from raydl.drawing import blank, shared_look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TableRow: TypeAlias = dict[str, Any]  # of a table of runs


@contextmanager
def drawing(
    file: Path | IO[bytes], panels: int = 1, width: float = 7.0, title: str = ""
) -> Iterator[list["Axes"]]:
    """Axes side by side; what the block draws in them is written to a PNG file.

    Args:
        file: to write, or to write to.
        panels: how many axes there are.
        width: of the whole figure, in inches.
        title: of the whole figure.
    """
    with shared_look():
        figure = blank(title, width, 4.3)
        yield list(figure.subplots(1, panels, squeeze=False)[0])
        figure.savefig(file, format="png")


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
