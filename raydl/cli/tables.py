"""Tables in a terminal."""

from typing import Any

import numpy as np
from rich.table import Table

from raydl.run_folder.results.wording import Measure


def table(summaries: dict[str, dict[str, Any]]) -> Table:
    """The summaries of runs side by side, by name."""
    measure = Measure()
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("", no_wrap=True)
    for name in summaries:
        shown.add_column(name, justify="right", overflow="fold")
    for key in dict.fromkeys(key for summary in summaries.values() for key in summary):
        name = key if "." in key else key.replace("_", " ")  # an option as it is given
        shown.add_row(name, *(measure.text(key, each.get(key)) for each in summaries.values()))
    return shown


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
