"""When a run has not become better for long enough to end."""

from collections.abc import Iterable, Mapping
from typing import Any

from raydl.run_folder.results.wording import Measure


def out_of_patience(
    rows: Iterable[Mapping[str, Any]], measure: Measure, patience: int | None
) -> bool:
    """Whether the last scorings on the validation set were no better than the best before them.

    It follows from the rows alone, so that a run that is resumed ends where it would have.

    Args:
        rows: of all rounds so far; those that were not scored count nowhere.
        measure: what is better.
        patience: how many such scorings it takes; None if no number does.
    """
    best: float | None = None
    since = 0
    for row in rows:
        value = row.get(f"val_{measure.best}")
        if value is None:
            continue
        if measure.better(value, best):
            best, since = value, 0
        else:
            since += 1
    return patience is not None and since >= patience
