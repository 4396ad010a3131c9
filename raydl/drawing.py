"""The look that all figures share; matplotlib is imported when something is drawn."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, BLUE, RED = "#22272e", "#6b7480", "#4e79a7", "#c4503c"
COLOURS = (
    *("#4e79a7", "#f28e2b", "#e15759", "#76b7b2", "#59a14f"),
    *("#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#bab0ac"),
)


def blank(title: str, width: float, height: float = 4.2) -> "Figure":
    """An empty figure, so many inches wide and high, of no window and no global state."""
    figure = _shown_in_notebooks()(figsize=(width, height), dpi=150, layout="constrained")
    figure.suptitle(title, x=0.01, ha="left", fontsize=12, fontweight="bold", color=INK)
    return figure


@cache
def _shown_in_notebooks() -> "type[Figure]":
    """Figures that a notebook shows as they are, also where pyplot was not set up for it."""
    from matplotlib.figure import Figure

    class Drawn(Figure):
        def _repr_png_(self) -> bytes:
            return as_png(self)

    return Drawn


@contextmanager
def shared_look() -> Iterator[None]:
    """The look that all figures share, for whoever draws with other libraries' defaults."""
    from matplotlib import rc_context
    from matplotlib.rcsetup import cycler

    look: dict[Any, Any] = {"axes.prop_cycle": cycler(color=COLOURS), "axes.titlesize": 10}
    look |= {"axes.edgecolor": MUTED, "axes.labelcolor": INK}
    look |= {"axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
    look |= {f"{axis}tick.color": MUTED for axis in "xy"}
    look |= {f"{axis}tick.labelsize": 9 for axis in "xy"}
    with rc_context(look):
        yield


def as_png(figure: "Figure") -> bytes:
    """A figure as PNG."""
    with BytesIO() as content:
        figure.savefig(content, format="png")
        return content.getvalue()


def style(axes: "Axes", across: str, up: str) -> None:
    """Gives axes their labels, whole numbers across, and the look that the figures share."""
    from matplotlib.ticker import AutoLocator, MaxNLocator

    if isinstance(axes.xaxis.get_major_locator(), AutoLocator):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=(1, 2, 5, 10)))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    label(axes, across, up)


def style_rounds(axes: "Axes", up: str) -> None:
    """The same for rounds, of which the first is 1: no tick is before it."""
    style(axes, "round", up)
    axes.set_xlim(left=max(0.5, axes.get_xlim()[0]))


def label(axes: "Axes", across: str, up: str) -> None:
    """Gives axes their labels, and the look that the figures share."""
    axes.set_xlabel(across, color=INK)
    axes.set_ylabel(up, color=INK)
    axes.tick_params(colors=MUTED, labelsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)


def legend_above(axes: "Axes", columns: int = 3) -> None:
    """A legend above the axes, where it covers nothing."""
    axes.legend(
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=9,
        borderaxespad=0.2,
        handlelength=1.5,
        columnspacing=1.2,
    )
