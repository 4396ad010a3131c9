"""Figures of what predictions are worth."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raydl.drawing import blank

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
