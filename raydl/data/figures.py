"""Figures of how labels, sizes and participation fall over the clients."""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from raydl.data.partitions.partition import Partition
from raydl.drawing import BLUE, COLOURS, MUTED, RED, blank, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_MOST_BARS = 100  # clients; more than that make a heat map
_COLUMNS = 500  # of a heat map
_WIDE = 100  # times the smallest size; where the largest is more, sizes have a scale of logarithms
_MOST_NAMED = len(COLOURS)  # classes with a legend; more than that make a colour bar


def label_counts(
    labels: npt.NDArray[np.int64], partition: Partition, classes: int
) -> npt.NDArray[np.int64]:
    """How many samples of each class each client has.

    Args:
        labels: the class of each sample, int64 [n].
        partition: which samples each client has.
        classes: number of classes.

    Returns:
        Counts, int64 [clients, classes].
    """
    clients = len(partition)
    owner = np.repeat(np.arange(clients), partition.sizes)
    cells = owner * classes + labels[partition.indices]
    return np.bincount(cells, minlength=clients * classes).reshape(clients, classes)


def plot_partition(counts: npt.NDArray[np.int64], title: str) -> "Figure":
    """How labels and sizes fall over the clients.

    Up to 100 clients are stacked bars, a colour for each class; more are a heat map of each class's
    share, clients sorted by their main class. Beside it stands a histogram of the client sizes.

    Args:
        counts: samples by client and class, [clients, classes].
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    figure = blank(title, width=11)
    left, right = figure.subplots(1, 2, width_ratios=[2.6, 1])
    if len(counts) <= _MOST_BARS:
        _plot_bars(left, counts)
    else:
        _plot_shares(left, counts)
    _plot_sizes(right, counts.sum(axis=1))
    return figure


def plot_participation(probabilities: npt.NDArray[np.float64], title: str) -> "Figure":
    """The clients' probabilities to be drawn, in descending order, against equal ones.

    Args:
        probabilities: of each client, [clients], summing to 1.
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    figure = blank(title, width=7)
    axes = figure.subplots()
    clients = len(probabilities)
    sorted_down = np.sort(probabilities)[::-1]
    edges = np.arange(clients + 1)
    axes.stairs(sorted_down, edges, fill=True, color=BLUE)
    axes.axhline(1 / clients, color=RED, linewidth=1.2, linestyle="--")
    axes.set(xlim=(0, clients), ylim=(0, max(sorted_down[0], 1 / clients) * 1.1))
    half = int(np.searchsorted(np.cumsum(sorted_down), 0.5 - 1e-9)) + 1
    note = f"{half:,} of {clients:,} clients have half of it; dashed: equal, 1/{clients:,}"
    axes.set_title(note, fontsize=9, color=MUTED, loc="left")
    style(axes, "clients, most likely first", "probability to be drawn")
    return figure


def plot_availability(shares: npt.NDArray[np.float64], title: str) -> "Figure":
    """How many of the clients are there in the course of a day.

    Args:
        shares: of the clients, at equal steps through the first 24 hours of a run, [steps].
        title: what stands above.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    figure = blank(title, width=7)
    axes = figure.subplots()
    axes.stairs(100 * shares, np.linspace(0, 24, len(shares) + 1), fill=True, color=BLUE)
    axes.set(xlim=(0, 24), ylim=(0, 105), xticks=range(0, 25, 4))
    note = f"{100 * shares.mean():.1f} % in the mean, {100 * shares.min():.1f} % at the least"
    axes.set_title(note, fontsize=9, color=MUTED, loc="left")
    style(axes, "hours since the run began", "clients that are there (%)")
    return figure


def _palette(classes: int) -> "Colormap":
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    if classes <= _MOST_NAMED:
        return ListedColormap(COLOURS[:classes])
    return colormaps["Spectral"].resampled(classes)


def _plot_bars(axes: "Axes", counts: npt.NDArray[np.int64]) -> None:
    from matplotlib.collections import PolyCollection

    clients, classes = counts.shape
    palette = _palette(classes)
    width = 0.85 if clients <= 40 else 1.0
    left = np.broadcast_to(np.arange(clients)[:, None] - width / 2, counts.shape)
    right, top = left + width, counts.cumsum(axis=1)
    bottom = top - counts
    corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
    bars = np.stack([np.stack(corner, axis=-1) for corner in corners], axis=2)
    for label in range(classes):  # one collection each: 10,000 bars of their own take 12 s
        colour = palette(label)
        axes.add_collection(
            PolyCollection(
                list(bars[:, label]),
                facecolor=colour,
                linewidth=0,
                antialiased=False,
                label=str(label),
            )
        )
    axes.set(xlim=(-0.6, clients - 0.4), ylim=(0, top[:, -1].max() * 1.04))
    if clients <= 20:
        axes.set_xticks(range(clients))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    style(axes, "client", "samples")
    if classes <= _MOST_NAMED:
        axes.legend(
            title="class",
            loc="center left",
            bbox_to_anchor=(1.0, 0.5),
            frameon=False,
            reverse=True,
            handlelength=1,
            handleheight=1,
        )
    else:
        _colour_bar(axes, palette, classes)


def _colour_bar(axes: "Axes", palette: "Colormap", classes: int) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    scale = ScalarMappable(Normalize(-0.5, classes - 0.5), palette)
    bar = axes.figure.colorbar(scale, ax=axes, pad=0.01, aspect=30, label="class")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=9)


def _plot_shares(axes: "Axes", counts: npt.NDArray[np.int64]) -> None:
    """A row for each class, a column for each client or for the mean of some neighbours."""
    clients, classes = counts.shape
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    main = shares.argmax(axis=1)
    shares = shares[np.lexsort((-shares.max(axis=1), main))]
    starts = np.linspace(0, clients, min(clients, _COLUMNS), endpoint=False).astype(int)
    widths = np.diff(starts, append=clients)
    columns = np.add.reduceat(shares, starts, axis=0) / widths[:, None]
    image = axes.imshow(
        columns.T,
        aspect="auto",
        interpolation="nearest",
        cmap="magma_r",
        vmin=0,
        origin="lower",
        extent=(0, clients, -0.5, classes - 0.5),
    )
    if classes <= 20:
        axes.set_yticks(range(classes))
    style(axes, "clients, sorted by main class", "class")
    bar = axes.figure.colorbar(image, ax=axes, pad=0.01, aspect=30, format="{x:.0%}")
    bar.set_label("share of a client's samples")
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=9)


def _plot_sizes(axes: "Axes", sizes: npt.NDArray[np.int64]) -> None:
    low, high = int(sizes.min()), int(sizes.max())
    bins = min(30, 2 * len(sizes) ** 0.5)
    if high > _WIDE * low > 0:
        axes.hist(sizes, np.geomspace(low, high + 1, round(bins) + 1).tolist(), color=BLUE)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:,.0f}")
    else:
        step = max(1, round((high - low) / bins))
        edges = np.arange(low, high + step + 1, step) - 0.5
        axes.hist(sizes, edges.tolist(), color=BLUE)
        margin = 2 if low == high else 0.5 * step
        axes.set_xlim(edges[0] - margin, edges[-1] + margin)
        axes.locator_params(integer=True, nbins=5)
    axes.axvline(sizes.mean(), color=RED, linewidth=1.2, linestyle="--")
    axes.yaxis.set_major_formatter("{x:,.0f}")
    style(axes, "samples of a client", "clients")
    spread = f"{low:,} each" if low == high else f"{low:,} to {high:,}, mean {sizes.mean():,.1f}"
    axes.set_title(spread, fontsize=9, color=MUTED, loc="left")
