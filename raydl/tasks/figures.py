"""Figures of what predictions are worth."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raydl.drawing import BLUE, COLOURS, MUTED, RED, blank, label, legend_above, style
from raydl.tasks.counting import ERRORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WRITTEN = 20  # classes whose cells have their numbers written in


def plot_confusion(counts: npt.NDArray[np.float64], title: str) -> "Figure":
    """How often each class was predicted for each, in shares of the class that was due.

    Args:
        counts: predictions, [classes, classes]; a row is a target.
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    classes = len(counts)
    figure = blank(title, width=min(11, 4 + 0.35 * classes), height=min(10, 3.5 + 0.3 * classes))
    axes = figure.subplots()
    shares = 100 * counts / np.maximum(counts.sum(1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    figure.colorbar(image, ax=axes, label="share of the class (%)")
    axes.set(xlabel="predicted class", ylabel="class")
    if classes <= _WRITTEN:
        axes.set_xticks(range(classes))
        axes.set_yticks(range(classes))
        for row, column in np.ndindex(shares.shape):
            share = shares[row, column]
            if counts[row, column]:
                text = f"{share:.0f}" if share >= 1 else "<1"
                color = "white" if share > 60 else "black"
                axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    return figure


def plot_errors(within: npt.NDArray[np.float64], title: str) -> "Figure":
    """The share of predictions whose absolute error is up to some size, with the median marked.

    Args:
        within: predictions up to each of `ERRORS`, and in all, [E + 1].
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    shares, places = 100 * within[:-1] / max(within[-1], 1), ERRORS.numpy()
    shown = slice(max(0, shares.searchsorted(0.5) - 1), shares.searchsorted(99.9) + 2)
    figure = blank(title, width=7)
    axes = figure.subplots()
    axes.semilogx(places[shown], shares[shown], color=BLUE)
    axes.set_ylim(0, 105)
    if shares[-1] >= 50 > shares[0]:
        median = float(np.interp(50, shares, places))
        axes.axvline(median, color=RED, linewidth=1.2, linestyle="--")
        note = f"half of the predictions are within {median:.3g}"
        axes.set_title(note, fontsize=9, color=MUTED, loc="left")
    label(axes, "absolute error", "predictions within it (%)")
    return figure


def plot_labels(agreement: npt.NDArray[np.float64], title: str) -> "Figure":
    """Precision and recall of each label.

    Args:
        agreement: how often each label was told rightly, told, and due, [3, labels].
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    right, told, due = agreement
    labels = np.arange(len(right))
    figure = blank(title, width=min(11, 4 + 0.35 * len(labels)))
    axes = figure.subplots()
    for name, whole, place, colour in (
        ("precision", told, -0.2, COLOURS[0]),
        ("recall", due, 0.2, COLOURS[1]),
    ):
        axes.bar(labels + place, 100 * right / np.maximum(whole, 1), 0.4, color=colour, label=name)
    axes.set_ylim(0, 100)
    style(axes, "label", "share (%)")
    axes.locator_params(axis="x", integer=True)
    legend_above(axes)
    return figure
