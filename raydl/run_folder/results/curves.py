"""Curves: how a run went, round by round, and runs side by side over what they cost."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from raydl import drawing
from raydl.run_folder.results.wording import SPLITS, UNITS, Measure
from raydl.run_folder.results.wording import title as in_words

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Line: TypeAlias = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]  # across and up, [n] each

_SPLIT_COLOURS = {"train": drawing.MUTED, "val": drawing.BLUE, "test": drawing.RED}
_POINTS = 200  # that the lines of seeds are compared at
_STEEP = 30  # times the median, beside which the largest value leaves little to be seen
_FEW = 2  # points of a line that are marked


def plot_run(table: pd.DataFrame, measure: Measure, title: str) -> "Figure":
    """The run's metric and its losses over the rounds, with the round that did best in validation.

    Where not all clients took part from the first round on, a third panel has their share so far.

    Args:
        table: a row for each round, see `raydl.run_folder.record`.
        measure: by what it is judged.
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    metrics = [name for name in (measure.best, "loss") if _splits(table, name)]
    metrics = list(dict.fromkeys(metrics))
    partly = "reached" in table and bool((table["reached"] < 1).any())
    count = max(1, len(metrics)) + partly
    figure = drawing.blank(title, width=1.2 + 4.6 * count)
    panels = figure.subplots(1, count, squeeze=False)[0]
    if partly:
        panels, reached = panels[:-1], panels[-1]
        reached.plot(table["round"], 100 * table["reached"], color=drawing.BLUE)
        reached.set_ylim(0, 105)
        drawing.style(reached, "round", "clients reached (%)")
        reached.locator_params(axis="x", integer=True)
    for axes, metric in zip(panels, metrics, strict=False):
        for split in _splits(table, metric):
            column = f"{split}_{metric}"
            scored = table[["round", column]].dropna()
            factor = 100 if measure.is_share(column) else 1
            axes.plot(
                scored["round"],
                factor * scored[column],
                color=_SPLIT_COLOURS[split],
                label=SPLITS[split],
                marker="o" if len(scored) <= _FEW else None,
                markersize=4,
            )
        if metric == measure.best:
            _mark_best(axes, table, measure)
        drawing.style_rounds(axes, axis_title(metric, measure))
        if not measure.is_share(metric):
            _widen(axes)
        drawing.legend_above(axes, columns=4)
    return figure


def plot_runs(
    groups: Mapping[str, Sequence[pd.DataFrame]],
    x: str,
    y: str,
    measure: Measure,
    title: str,
) -> "Figure":
    """Runs side by side: a line for each, or for runs with several seeds their mean and a band.

    Args:
        groups: by label, the tables of runs that differ in their seeds alone.
        x: column across, such as ``round``, ``samples``, ``bytes_up`` or ``wall_seconds``.
        y: column up, such as ``val_accuracy``.
        measure: how figures are written.
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    height = 4.2 + 0.16 * max(0, len(groups) - 3)
    figure = drawing.blank(title, width=7.5, height=height)
    axes = figure.subplots()
    factor = 100 if measure.is_share(y) else 1
    most = max((float(each[x].max()) for tables in groups.values() for each in tables), default=0)
    divisor, unit = _unit(x, most)
    several = False
    for number, (label, tables) in enumerate(groups.items()):
        colour = drawing.COLOURS[number % len(drawing.COLOURS)]
        lines = [_line(each, x, y) for each in tables]
        across, mean, spread = mean_and_spread(lines)
        mark = "o" if len(across) <= _FEW else None
        name = f"{label} ({len(lines)} seeds)" if len(lines) > 1 else label
        axes.plot(
            across / divisor, factor * mean, color=colour, label=name, marker=mark, markersize=4
        )
        if len(lines) > 1:
            several = True
            low, high = factor * (mean - spread), factor * (mean + spread)
            if mark:
                axes.errorbar(
                    across / divisor, factor * mean, factor * spread, color=colour, capsize=3
                )
            else:
                axes.fill_between(across / divisor, low, high, color=colour, alpha=0.2, linewidth=0)
    if x == "round":
        drawing.style_rounds(axes, axis_title(y, measure))
    else:
        drawing.label(axes, f"{in_words(x)}{unit}", axis_title(y, measure))
    if several:
        axes.fill_between([], [], color=drawing.MUTED, alpha=0.2, label="± deviation over seeds")
    drawing.legend_above(axes, columns=1 if max(map(len, groups), default=0) > 30 else 2)
    return figure


def mean_and_spread(
    lines: Sequence[Line],
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The mean of lines and their standard deviation (n - 1), where all of them are.

    Lines over the same points are compared there; others at points between which they are straight.

    Returns:
        The points across, the mean and the standard deviation, [n] each.
    """
    across = lines[0][0]
    if any(len(each[0]) != len(across) or (each[0] != across).any() for each in lines):
        start, stop = max(each[0][0] for each in lines), min(each[0][-1] for each in lines)
        across = np.linspace(start, max(start, stop), _POINTS)
    heights = np.stack([np.interp(across, *each) for each in lines])
    spread = heights.std(axis=0, ddof=1) if len(lines) > 1 else np.zeros(len(across))
    return across, heights.mean(axis=0), spread


def axis_title(column: str, measure: Measure) -> str:
    """A column in words, with its unit: ``validation accuracy (%)``."""
    name = in_words(column)
    if measure.is_share(column):
        return f"{name} (%)"
    return f"{name} (s)" if column.endswith("_seconds") else name


def _splits(table: pd.DataFrame, metric: str) -> list[str]:
    names = ((split, f"{split}_{metric}") for split in SPLITS)
    return [split for split, name in names if name in table and table[name].notna().any()]


def _mark_best(axes: "Axes", table: pd.DataFrame, measure: Measure) -> None:
    column = f"val_{measure.best}"
    scored = table.dropna(subset=[column]) if column in table else table.iloc[:0]
    if scored.empty:
        return
    value = scored[column].max() if measure.higher_is_better else scored[column].min()
    first = scored[scored[column] == value].iloc[0]
    factor = 100 if measure.is_share(column) else 1
    axes.plot(
        first["round"],
        factor * value,
        "o",
        color=drawing.BLUE,
        markersize=6,
        markerfacecolor="none",
        label=f"{measure.text(column, value)}, round {int(first['round'])}",
    )


def _widen(axes: "Axes") -> None:
    """Has a logarithmic scale where the first rounds would leave the others on the axis."""
    drawn = [np.asarray(line.get_ydata(), np.float64) for line in axes.lines]
    heights = np.concatenate([each[np.isfinite(each)] for each in drawn] or [np.ones(1)])
    if heights.size and heights.min() > 0 and heights.max() > _STEEP * np.median(heights):
        axes.set_yscale("log")


def _line(table: pd.DataFrame, x: str, y: str) -> Line:
    scored = table[[x, y]].dropna()
    return scored[x].to_numpy(np.float64), scored[y].to_numpy(np.float64)


def _unit(column: str, most: float) -> tuple[float, str]:
    """What a column's values are divided by, and the unit that they have then."""
    if column.startswith("bytes"):
        divisor, unit = next((each for each in UNITS if most >= each[0]), UNITS[-1])
        return divisor, f" ({unit})"
    return 1.0, " (s)" if column.endswith("_seconds") else ""
