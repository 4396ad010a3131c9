"""The error that a user's mistake raises, the warnings of a run, and the words for both."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_SHOWN, _LONG = 80, 300  # characters: of a value, and of what an error says


class SpecError(ValueError):
    """Something was asked for that cannot be run.

    The message names what was given, what is allowed and what to do. It is raised before any work
    starts; the command line prints it without a traceback and exits with 2, and a notebook shows
    it without one.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in a traceback's place."""
        return [f"{type(self).__name__}: {self}"]


class Notice(UserWarning):
    """What went wrong and did not end the run; the command line prints it as a line of its own."""


def unknown(kind: str, name: str, allowed: Iterable[str]) -> SpecError:
    """The error for a name that does not exist, with its nearest match.

    Example:
        >>> print(unknown("algorithm", "FedAgv", ["FedAvg", "FedSGD"]))
        unknown algorithm 'FedAgv'; did you mean 'FedAvg'? Allowed: FedAvg, FedSGD
    """
    allowed = sorted(allowed)
    lowered = {each.lower(): each for each in reversed(allowed)}
    near = get_close_matches(name.lower(), lowered, n=1, cutoff=0.5)
    hint = f"; did you mean {lowered[near[0]]!r}?" if near else "."
    return SpecError(f"unknown {kind} {name!r}{hint} Allowed: {', '.join(allowed)}")


def first_sentence(error: BaseException) -> str:
    """What an error of other people's code says, in a line: its first sentence, if it has many."""
    text = " ".join(str(error).split())
    first = text.partition(". ")[0].rstrip(".")
    return (first if len(first) <= _LONG else f"{first[:_LONG]} ...") or type(error).__name__


def require(condition: bool, field: str, given: object, allowed: str) -> None:  # noqa: FBT001
    """Raises a SpecError unless ``condition`` holds.

    Args:
        condition: what must be true.
        field: the name of the field, dotted as on the command line.
        given: the value that was given.
        allowed: what is allowed, or what to do; completes "must be ...".
    """
    if not condition:
        raise SpecError(f"{field} is {given!r}; it must be {allowed}")


def brief(given: Any) -> str:
    """What was given, in a line: of tensors and arrays their shape, of anything long the beginning.

    Example:
        >>> brief("0.1"), brief(range(3))
        ("'0.1'", 'range(0, 3)')
    """
    kind, shape = type(given), getattr(given, "shape", None)
    if shape is not None and shape != () and not isinstance(given, type):
        dtype = getattr(given, "dtype", "its columns' types")
        return f"a {kind.__module__}.{kind.__qualname__} of shape {tuple(shape)} and type {dtype}"
    text = " ".join(repr(given).split())
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({kind.__qualname__})"
