"""What is said of a run's figures: by which metric it is judged, and how numbers are written."""

from collections.abc import Mapping
from math import isnan
from typing import Any, NamedTuple

from raydl.core.task import TaskSpec

SPLITS = {"train": "training", "val": "validation", "test": "test"}  # as words have them
UNITS = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1, "B"))
_ALWAYS = frozenset({"reached"})  # shares of any run
_BEFORE = frozenset({"accuracy", "top5", "f1", "iou"})  # shares of runs that do not say


class Measure(NamedTuple):
    """By what runs of a task are judged, as `TaskSpec` has it, and how its metrics are written.

    Attributes:
        best: name of the metric by which one model is better than another.
        higher_is_better: whether the larger value of it is the better one.
        shares: names of metrics that are written in per cent.
    """

    best: str = "accuracy"
    higher_is_better: bool = True
    shares: frozenset[str] = _BEFORE

    @classmethod
    def of(cls, spec: TaskSpec) -> "Measure":
        """That of a task."""
        return cls(spec.best, spec.higher_is_better, spec.shares)

    @classmethod
    def from_summary(cls, summary: Mapping[str, Any]) -> "Measure":
        """That of a run, by its summary; older ones were all of classes."""
        if "metric" not in summary:
            return cls()
        shares = frozenset(summary["shares"])
        return cls(summary["metric"], summary["higher_is_better"], shares)

    def summary(self) -> dict[str, Any]:
        """What a summary says of it."""
        return {
            "metric": self.best,
            "higher_is_better": self.higher_is_better,
            "shares": sorted(self.shares),
        }

    def is_share(self, column: str) -> bool:
        """Whether a column, such as ``best_test_accuracy``, is written in per cent."""
        metric = metric_of(column)
        return metric in self.shares | _ALWAYS or metric.partition("_of_")[0] in self.shares

    def better(self, value: float, than: float | None) -> bool:
        """Whether a value of the metric is better than another one, or than none; NaN never is."""
        if isnan(value):
            return False
        return than is None or (value > than if self.higher_is_better else value < than)

    def text(self, column: str, value: Any) -> str:
        """A column's value as a person reads it, with its unit."""
        if value is None or (isinstance(value, float) and isnan(value)):
            return "–"
        if isinstance(value, bool) or not isinstance(value, int | float):
            shown = str(value)
            return shown[:16] + "…" if len(shown) > 32 else shown
        if self.is_share(column):
            return f"{100 * value:.2f} %"
        if column.startswith("bytes"):
            return size(value)
        if column.endswith("seconds"):
            return f"{_rounded(value)} s"
        if column == "price":
            return _rounded(value)
        return f"{value:,.4g}" if isinstance(value, float) else f"{value:,}"

    def spread(self, column: str, mean: float, deviation: float) -> str:
        """A mean and a standard deviation as a person reads them, with their unit."""
        if not deviation:
            return self.text(column, mean)
        if self.is_share(column):
            return f"{100 * mean:.2f} ± {100 * deviation:.2f} %"
        if column.startswith("bytes"):
            return f"{size(mean)} ± {size(deviation)}"
        unit = " s" if column.endswith("seconds") else ""
        return f"{mean:,.4g} ± {deviation:.2g}{unit}"


def metric_of(column: str) -> str:
    """The metric of a column: ``accuracy`` of ``best_val_accuracy``."""
    split, _, metric = column.removeprefix("best_").partition("_")
    return metric if split in SPLITS else column


def title(column: str) -> str:
    """A column in words: ``validation accuracy`` of ``val_accuracy``."""
    split, _, metric = column.removeprefix("best_").partition("_")
    words = f"{SPLITS[split]} {metric}" if split in SPLITS else column
    best = "best " if column.startswith("best_") and split in SPLITS else ""
    return best + words.replace("_", " ")


def size(nbytes: float) -> str:
    """Bytes, in the unit that leaves the fewest digits."""
    unit = next((each for each in UNITS if nbytes >= each[0]), UNITS[-1])
    return f"{nbytes:,.0f} B" if unit[0] == 1 else f"{nbytes / unit[0]:,.1f} {unit[1]}"


def duration(seconds: float) -> str:
    """Seconds as a clock would have them, short ones with a decimal: ``4.2 s``, ``1:03:20``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02} min"


def _rounded(value: float) -> str:
    """With two decimals, or as many as a small number needs."""
    return f"{value:,.2f}" if value >= 1 or not value else f"{value:.3g}"
