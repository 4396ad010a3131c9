"""The metric by which runs are compared: the best of their task, on the validation set."""

from math import isfinite
from typing import NamedTuple, Self, TypeVar

import pandas as pd

from raydl.core.task import TaskSpec
from raydl.tasks import Classification

Values = TypeVar("Values", float, pd.Series, pd.DataFrame)

_WORST = -1e38  # finite: whoever compares trials takes their means and percentiles


class Metric(NamedTuple):
    """A metric of a task, and how it is ranked and shown.

    Attributes:
        name: such as ``accuracy``.
        higher_is_better: whether the larger value is the better one.
        share: whether it is in [0, 1], and shown in per cent.
    """

    name: str
    higher_is_better: bool
    share: bool

    @classmethod
    def of(cls, spec: TaskSpec) -> Self:
        """The one by which a task's models are compared."""
        return cls(spec.best, spec.higher_is_better, spec.best in spec.shares)

    @property
    def column(self) -> str:
        """The column of a run's rows that trials are compared by."""
        return self.column_of("val")

    def column_of(self, split: str) -> str:
        """The column of a split: ``train``, ``val`` or ``test``."""
        return f"{split}_{self.name}"

    def columns(self, split: str) -> tuple[str, ...]:
        """The columns of a split that say how good a model is: the metric, and the loss."""
        return tuple(dict.fromkeys((self.column_of(split), f"{split}_loss")))

    def score(self, value: float | None) -> float:
        """A number that is the larger the better, and finite; the least if there is no value."""
        value = finite(value)
        if value is None:
            return _WORST
        return max(value if self.higher_is_better else -value, _WORST)

    def best_first(self, table: pd.DataFrame) -> pd.DataFrame:
        """The rows of a table from the best to the worst, then those without a value."""
        ascending = not self.higher_is_better
        return table.sort_values(self.column, ascending=ascending, kind="stable")

    def shown(self, values: Values) -> Values:
        """Values in the unit that they are shown in."""
        return 100 * values if self.share else values

    def text(self, value: float, spread: float | None = None) -> str:
        """A value in words, and its standard deviation: ``97.31 ± 0.58 %``."""
        form, fine = (".2f", ".2f") if self.share else (".4g", ".2g")
        text = f"{self.shown(value):{form}}"
        text += "" if spread is None else f" ± {self.shown(spread):{fine}}"
        return text + (" %" if self.share else "")

    def label(self, split: str) -> str:
        """What an axis is called: ``validation accuracy (%)``."""
        return f"{split} {self}" + (" (%)" if self.share else "")

    def __str__(self) -> str:
        return self.name.replace("_", " ")


def finite(value: float | None) -> float | None:
    """The value; None if there is none, or it is a NaN or an infinity."""
    return value if value is not None and isfinite(value) else None


ACCURACY = Metric.of(Classification())
