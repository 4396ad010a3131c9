"""What a round costs over the number of workers, scheme by scheme."""

from typing import TYPE_CHECKING

from raydl.drawing import blank, style
from raydl.planning.forecast import Circumstances, Comparison
from raydl.run_folder.results.wording import size

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Colour and width: where curves lie on one another, the later and narrower leave the others seen.
_LINES = {
    "star": ("#4e79a7", 5.0),
    "all_to_all": ("#e15759", 2.0),
    "tree": ("#59a14f", 3.5),
    "ring": ("#f28e2b", 2.2),
    "gossip": ("#22272e", 0.9),
}
_POINTS = 60  # of a curve, where there are as many whole numbers


def plot(comparison: Comparison, circumstances: Circumstances) -> "Figure":
    """A round's bytes, its seconds, and where they cost anything its price, for each scheme.

    Args:
        comparison: its schemes are drawn from 2 workers to eight times those that are planned,
            which a dashed line marks.
        circumstances: give the seconds and the price.

    Returns:
        A figure that belongs to no window and to no global state.
    """
    planned = next(iter(comparison.forecasts.values())).workers
    most = 8 * max(planned, 8)
    workers = sorted({round(2 * (most / 2) ** (at / _POINTS)) for at in range(_POINTS + 1)})
    panels = {
        "bytes sent by all in a round": lambda exchange: exchange.bytes_sent,
        "communication in a round (s)": circumstances.seconds,
    }
    if circumstances.price:
        panels[f"price of a round ({circumstances.currency})"] = circumstances.cost
    figure = blank(comparison.title, width=1.5 + 4.5 * len(panels))
    for axes, (measure, cost) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for scheme, exchange in comparison.schemes.items():
            colour, width = _LINES[scheme]
            costs = [cost(exchange(each)) for each in workers]
            name = scheme.replace("_", " ")
            axes.plot(workers, costs, color=colour, linewidth=width, label=name)
        axes.axvline(planned, color="#6b7480", linewidth=1, linestyle="--")
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        style(axes, "workers of a round", measure)
        if measure.startswith("bytes"):
            axes.yaxis.set_major_formatter(lambda nbytes, _: size(nbytes).replace(".0 ", " "))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    return figure
