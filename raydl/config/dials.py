"""The few settings of a run that its field writes with a letter, for headings and titles."""

from collections.abc import Iterator, Mapping
from typing import Any

from raydl.config.given import title
from raydl.config.run import Run

_LETTERS = {  # of partitions and participations, by class and field
    ("ClassesPerClient", "per_client"): "N_c",
    ("Shards", "per_client"): "shards",
    ("Dirichlet", "alpha"): "α",
    ("QuantitySkew", "alpha"): "α",
    ("Uniform", "fraction"): "C",
    ("Skewed", "fraction"): "C",
    ("Skewed", "gamma"): "γ",
    ("PowerOfChoice", "fraction"): "C",
    ("PowerOfChoice", "candidates"): "d",
    ("Oort", "fraction"): "C",
    ("Oort", "explore"): "ε",
    ("LossProportional", "fraction"): "C",
    ("LossProportional", "explore"): "ε",
    ("Daily", "fraction"): "C",
    ("Intervals", "fraction"): "C",
}


def dials(*parts: Any) -> str:
    """The letters of partitions and participations with their values.

    Example:
        >>> from raydl.data import ClassesPerClient, Skewed
        >>> dials(ClassesPerClient(5), Skewed(0.1, gamma=0.5))
        'N_c = 5, C = .1, γ = .5'
    """
    return ", ".join(f"{letter} = {number(value)}" for letter, value in _letters(parts))


def dials_of(run: Run) -> str:
    """Those of a run, after the number of its clients N or its workers K."""
    if run.workers is not None:
        return f"K = {run.workers}" + (f", {inside}" if (inside := dials(run.partition)) else "")
    return f"N = {run.population}, {dials(run.partition, run.participation)}".rstrip(", ")


def heading(run: Run, data: str | None = None) -> str:
    """What a run is, in a line: ``FedAvg on Digits, IID (N = 100, C = .1)``.

    Args:
        run: the run.
        data: what the data set calls itself, if it is at hand.
    """
    split = f", {title(run.partition)}" if run.workers != 1 else ""
    return f"{title(run.algorithm)} on {data or title(run.data)}{split} ({dials_of(run)})"


def learning_rate(run: Run, row: Mapping[str, Any]) -> float | None:
    """The learning rate of a round: what the server reports, or the one that is set; if known."""
    rate = row.get("server_lr")
    for holder in (run.algorithm, getattr(run.algorithm, "optimizer", None)):
        rate = getattr(holder, "lr", None) if rate is None else rate
    return rate


def number(value: float) -> str:
    """A number as it is written in a title: without a zero before its point."""
    text = f"{value:g}"
    return text.removeprefix("0") if text.startswith("0.") else text


def _letters(parts: tuple[Any, ...]) -> Iterator[tuple[str, float]]:
    for part in parts:
        for (cls, field), letter in _LETTERS.items():
            if type(part).__name__ == cls:
                yield letter, getattr(part, field)
