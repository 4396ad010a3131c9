"""Parameters by their names: shell patterns such as ``features.*,*.bias``."""

from collections.abc import Collection
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from raydl.core.errors import SpecError, brief


def as_patterns(field: str, given: Any) -> str | None:
    """Patterns with commas between them, from a word or a list of words; None stays None.

    Raises:
        SpecError: if it is anything else.
    """
    words = [given] if isinstance(given, str) else given
    if given is None:
        return None
    if not isinstance(words, list | tuple) or not all(isinstance(each, str) for each in words):
        raise SpecError(f"{field} is {brief(given)}; it must be shell patterns, such as 'head.*'")
    return ",".join(each.strip() for word in words for each in word.split(","))


def matching(field: str, patterns: str | None, names: Collection[str]) -> set[str]:
    """Those of the names that one of the patterns matches; a ``*`` takes in dots, too.

    Args:
        field: of the spec, which errors name.
        patterns: with commas between them.
        names: of parameters.

    Raises:
        SpecError: for a pattern that matches none of them, with the nearest names.

    Example:
        >>> sorted(matching("model.frozen", "a.*,*.bias", ["a.weight", "b.weight", "b.bias"]))
        ['a.weight', 'b.bias']
    """
    found: set[str] = set()
    for pattern in patterns.split(",") if patterns else []:
        these = {name for name in names if fnmatchcase(name, pattern)}
        if not these:
            near = get_close_matches(pattern, names, n=3, cutoff=0.4) or sorted(names)[:3]
            raise SpecError(
                f"{field} has {pattern!r}, which matches the name of no parameter; the nearest are "
                f"{', '.join(near)}"
            )
        found |= these
    return found
