"""A sweep's plots: the metric in validation over the swept fields, and against what it cost."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt
import pandas as pd

from raydl.run_folder.record import read_rows
from raydl.storage import Folder
from tuning.metric import Metric, finite
from tuning.output import drawing
from tuning.sweep.lineage import newest
from tuning.sweep.space import Space
from tuning.sweep.trial import home_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable

Draw: TypeAlias = "Callable[[list[Axes]], None]"

_WIDE = 8  # times the least value is the largest of a field whose axis is logarithmic


def draw(
    folder: Folder, table: pd.DataFrame, space: Space, metric: Metric, best: int | None
) -> list[str]:
    """Draws what there is to see, and returns the names of the files.

    In a line over a field each point is the best of the trials with that value, whatever the other
    fields were; so is each cell of a heat map.

    Args:
        folder: of the sweep.
        table: a row for each trial.
        space: of the fields.
        metric: by which the trials are compared.
        best: the number of the best trial, which is drawn in color.
    """
    scored = table.dropna(subset=metric.column)
    varied = [field for field in space.fields if scored[field].astype(str).nunique() > 1]
    numeric = [field for field in varied if field in space.numeric]
    listed = [field for field in numeric if field not in space.ranges]
    plots: dict[str, tuple[int, Draw]] = {}
    for field in numeric:
        plots[field] = 1, partial(_line, scored, metric, field, listed=field not in space.ranges)
    for first, second in combinations(listed, 2):
        others = [field for field in varied if field not in (first, second)]
        plots[f"{first}-{second}"] = 1, partial(_heat_map, scored, metric, first, second, others)
    if len(varied) > 1:
        plots["parallel"] = 1, partial(_parallel, scored, metric, varied, space.numeric)
    if len(scored):
        rows = {n: read_rows(newest(home_of(folder, n))) for n in scored["number"]}
        plots["costs"] = 2, partial(_costs, rows, metric, best)
    for name, (panels, draw_in) in plots.items():
        with folder.writing(f"{name}.png") as stream, drawing(stream, panels) as axes:
            draw_in(axes)
    return [f"{name}.png" for name in plots]


def _line(
    table: pd.DataFrame, metric: Metric, field: str, panels: "list[Axes]", *, listed: bool
) -> None:
    (axes,) = panels
    values, reached = table[field].astype(float), metric.shown(table[metric.column])
    axes.scatter(values, reached, s=14, color="grey", label="trials")
    if listed:
        each = reached.groupby(values)
        best = each.max() if metric.higher_is_better else each.min()
        axes.plot(best.index, best, marker="o", label="best")
        axes.legend()
    axes.set(xlabel=field, xscale="log" if _is_wide(values) else "linear")
    axes.set(ylabel=metric.label("validation"), yscale=_scale(metric, reached))


def _heat_map(
    table: pd.DataFrame,
    metric: Metric,
    first: str,
    second: str,
    others: Sequence[str],
    panels: "list[Axes]",
) -> None:
    """The best of each cell, and with which values of the other fields."""
    import seaborn as sns

    ranked = metric.best_first(table)
    cells = ranked.drop_duplicates([first, second]).set_index([first, second])
    reached = metric.shown(cells[metric.column].unstack())
    form = ".1f" if metric.share else ".3g"
    text = [
        "\n".join(
            [
                f"{metric.shown(row[metric.column]):{form}}",
                *(_short(each, row[each]) for each in others),
            ]
        )
        for _, row in cells.iterrows()
    ]
    told = pd.Series(text, cells.index).unstack().reindex_like(reached).fillna("")
    colors = _colors(metric, metric.shown(cells[metric.column]))
    bar = {"label": metric.label("validation")}
    (axes,) = panels
    sns.heatmap(
        reached, annot=told, fmt="", ax=axes, cmap=colors.cmap, norm=colors.norm, cbar_kws=bar
    )
    axes.set_title("the other fields at their best")


def _parallel(
    table: pd.DataFrame,
    metric: Metric,
    fields: Sequence[str],
    numeric: Sequence[str],
    panels: "list[Axes]",
) -> None:
    """A line for each trial, from axis to axis, colored by the metric; the best on top."""
    (axes,) = panels
    ranked = metric.best_first(table)[::-1]
    reached = metric.shown(ranked[metric.column].astype(float))
    colors = _colors(metric, reached).to_rgba(reached.to_numpy())
    heights = {field: _heights(ranked[field], numeric=field in numeric) for field in fields}
    heights[metric.label("validation")] = _heights(reached, numeric=True)
    places = range(len(heights))
    for line, color in zip(np.stack(list(heights.values()), axis=1), colors, strict=True):
        axes.plot(places, line, color=color, linewidth=1.2)
    for place, (field, height) in enumerate(heights.items()):
        axes.axvline(place, color="black", linewidth=0.8)
        values = ranked.get(field, reached)
        for value in {*values[height == height.min()], *values[height == height.max()]}:
            at = height[np.flatnonzero(values == value)[0]]
            told = f" {value:.4g}" if isinstance(value, int | float) else f" {value}"
            axes.annotate(told, (place, at), fontsize=8)
    axes.set_xticks(places, heights, rotation=15, ha="right")
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _costs(
    rows: Mapping[int, list[dict[str, Any]]],
    metric: Metric,
    best: int | None,
    panels: "list[Axes]",
) -> None:
    """The metric against what was sent, and the time that it took; the best trial on top."""
    every: list[float] = []
    for number, trial in sorted(rows.items(), key=lambda each: each[0] == best):
        scored = [row for row in trial if finite(row[metric.column]) is not None]
        reached = [metric.shown(row[metric.column]) for row in scored]
        every += reached
        sent = [(row["bytes_up"] + row["bytes_down"]) / 1e6 for row in scored]
        took = [row["wall_seconds"] for row in scored]
        chosen = number == best
        style: dict[str, Any] = {
            "color": "C0" if chosen else "lightgrey",
            "linewidth": 2 if chosen else 0.9,
        }
        label = f"trial {number:04d}, the best" if chosen else None
        for axes, costs in zip(panels, (sent, took), strict=True):
            axes.plot(costs, reached, label=label, marker="." if len(costs) == 1 else None, **style)
    scale = _scale(metric, pd.Series(every))
    for axes, name in zip(panels, ("sent up and down (MB)", "wall time (s)"), strict=True):
        axes.set(xlabel=name, ylabel=metric.label("validation"), yscale=scale)
    if best is not None:
        panels[0].legend()


def _scale(metric: Metric, values: pd.Series) -> str:
    """The scale of the metric's axis: logarithmic where values without an end are far apart."""
    return "log" if not metric.share and _is_wide(values) else "linear"


def _colors(metric: Metric, values: pd.Series) -> "ScalarMappable":
    """Colors over the range of the values, on the scale of their axis, the better the brighter."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LogNorm, Normalize

    norm = LogNorm if _scale(metric, values) == "log" else Normalize
    colors = "viridis" if metric.higher_is_better else "viridis_r"
    return ScalarMappable(norm(values.min(), values.max()), colors)


def _heights(values: pd.Series, *, numeric: bool) -> npt.NDArray[np.float64]:
    """Where values lie on an axis from 0 to 1, float64 [n]: by size, or as words by their order."""
    if numeric:
        sizes = values.astype(float).to_numpy()
        sizes = np.log(sizes) if _is_wide(values.astype(float)) else sizes
    else:
        sizes = values.astype(str).rank(method="dense").to_numpy()
    spread = np.ptp(sizes)
    return (sizes - sizes.min()) / spread if spread else np.full(len(sizes), 0.5)


def _is_wide(values: pd.Series) -> bool:
    return bool(values.min() > 0 and values.max() >= _WIDE * values.min())


def _short(field: str, value: Any) -> str:
    told = f"{value:.3g}" if isinstance(value, int | float) else str(value)
    return f"{field.rpartition('.')[2]} {told}"
