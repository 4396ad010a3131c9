"""What a person sees of a sweep in a terminal."""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from tuning.metric import Metric
from tuning.output import TableRow
from tuning.sweep.results.table import best_of, in_words

_SHOWN = 10  # trials, the best first


class LiveTable:
    """The best trials so far, how many are done and the time left; without a terminal, plain lines.

    Args:
        console: where.
        fields: that are swept.
        total: trials there will be.
        metric: by which they are compared.
    """

    def __init__(self, console: Console, fields: Sequence[str], total: int, metric: Metric) -> None:
        self._console, self._fields, self._total = console, fields, total
        self._metric = metric
        self._live = Live(console=console, refresh_per_second=2) if console.is_terminal else None
        self._began, self._done = time.monotonic(), 0

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def on_change(self, rows: Sequence[TableRow]) -> None:
        """Some trial's figures have."""
        if self._live:
            self._live.update(self._table(rows))

    def on_end(self, row: TableRow, rows: Sequence[TableRow]) -> None:
        """A trial has its outcome."""
        self._done += 1
        self.on_change(rows)
        if not self._live:
            settings = ", ".join(f"{field} {row[field]}" for field in self._fields)
            self._console.print(
                f"{_count_ended(rows)}/{self._total}  {row['number']:04d}: {settings}: "
                f"{in_words(row, self._metric)}; {self._left(rows)}",
                highlight=False,
                soft_wrap=True,
            )

    def _left(self, rows: Sequence[TableRow]) -> str:
        """How long the others will take, at the pace of this session."""
        if not self._done:
            return ""
        pace = (time.monotonic() - self._began) / self._done
        return f"{pace * (self._total - _count_ended(rows)):,.0f} s left"

    def _table(self, rows: Sequence[TableRow]) -> Table:
        metric = self._metric
        best = best_of(rows, metric)
        title = f"{_count_ended(rows)} of {self._total} trials done"
        title += f", best {in_words(best, metric)}" if best else ""
        left = self._left(rows)
        shown = Table(title=f"{title}  {left}", title_justify="left", box=None, pad_edge=False)
        for column in ("trial", *self._fields, "", "round"):
            shown.add_column(column, justify="right")
        ranked = sorted(rows, key=lambda row: -metric.score(row[metric.column]))
        for row in ranked[:_SHOWN]:
            settings = (f"{row[field]}" for field in self._fields)
            told = in_words(row, metric)
            shown.add_row(f"{row['number']:04d}", *settings, told, f"{row['round'] or 0:.0f}")
        return shown


def _count_ended(rows: Sequence[TableRow]) -> int:
    return sum(row["outcome"] != "begun" for row in rows)
