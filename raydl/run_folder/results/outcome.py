"""What came of a run in a few lines, the metric first."""

from collections.abc import Mapping
from typing import Any

from raydl.run_folder.results.wording import Measure, duration, size, title

_SPARE = {  # told only where there was any
    "dropped": "updates that were not finite",
    "late": "updates that came too late",
    "lost": "updates on their way",
}


def outcome(summary: Mapping[str, Any]) -> dict[str, str]:
    """The lines, by what each is about.

    Args:
        summary: of a run that is done, as `raydl.History` has it.
    """
    measure, lines = Measure.from_summary(summary), {}
    for split in ("test", "val"):
        column = f"{split}_{measure.best}"
        if summary.get(column) is not None:
            lines[title(column)] = _score(summary, column, measure)
    lines["training loss"] = measure.text("train_loss", summary.get("train_loss"))
    rounds, seconds = summary["rounds"], summary["wall_seconds"]
    lines["time"] = f"{duration(seconds)} of training"
    if rounds and seconds:
        each, speed = seconds / rounds, summary["samples"] / seconds
        lines["time"] += f", {each:.3g} s a round, {speed:,.0f} samples/s"
    if summary.get("stopped_early"):
        lines["time"] += f"; stopped early, after round {rounds}"
    lines["sent"] = (
        f"{size(summary['bytes_down'])} down, {size(summary['bytes_up'])} up, "
        f"{summary['messages']:,} messages"
    )
    spare = [f"{summary[key]:,} {what}" for key, what in _SPARE.items() if summary.get(key)]
    return lines | ({"left out": ", ".join(spare)} if spare else {})


def headline(summary: Mapping[str, Any]) -> str:
    """The same in a line."""
    measure = Measure.from_summary(summary)
    column = next(
        (name for split in ("test", "val") if summary.get(name := f"{split}_{measure.best}")), ""
    )
    reached = f"{title(column)} {measure.text(column, summary[column])}" if column else ""
    rounds = f"{summary['rounds']} round{'s' * (summary['rounds'] != 1)}"
    return ", ".join(filter(None, (rounds, reached, duration(summary["wall_seconds"]))))


def _score(summary: Mapping[str, Any], column: str, measure: Measure) -> str:
    """The last parameters' score, and that of those that did best in validation."""
    text = f"{measure.text(column, summary[column])} after round {summary['rounds']}"
    best, number = summary.get(f"best_{column}"), summary.get("best_round")
    if best is None or number is None or number == summary["rounds"]:
        return text + (", the best in validation" if column.startswith("val_") and number else "")
    after = f"{measure.text(column, best)} after round {number}"
    return f"{text}; {after}, the best in validation"
