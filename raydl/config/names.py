"""The words that choose a class, ``--algorithm FedAvg`` and its like; nothing is imported."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from raydl.core.errors import SpecError

# What may be none, and what that means.
OPTIONAL = {"augmentation": "none"} | dict.fromkeys(("model", "task"), "what is usual for the data")
OUTER = ("algorithm", "runtime")  # whose options may be written without the name before the dot


def take_names(
    argv: Sequence[str], choices: Mapping[str, Iterable[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Parts ``--algorithm FedAvg`` and its like from the other options.

    Args:
        argv: words of the command line.
        choices: names that each field allows.

    Returns:
        What was given for each field, in that order, and all other words.

    Raises:
        SpecError: if a name is missing.
    """
    named: dict[str, list[str]] = {}
    options, tokens = [], iter(argv)
    for token in tokens:
        field, equals, name = token.removeprefix("--").partition("=")
        written = (field, *(f"{parent}.{field}" for parent in OUTER))
        field = next((each for each in written if choice_of(each) in choices), "")
        if not token.startswith("--") or not field:
            options.append(token)
            continue
        name = name if equals else next(tokens, "")
        if not name or name.startswith("--"):
            raise SpecError(f"--{field} needs a name: {', '.join(choices[choice_of(field)])}")
        named.setdefault(field, []).append(name)
    return named, options


def choice_of(path: str) -> str:
    """The field of an element of a list: ``transforms`` of ``transforms.0``."""
    return ".".join(each for each in path.split(".") if not each.isdigit())


def allowed_names(field: str, names: Iterable[str]) -> list[str]:
    """What may stand for a field's name, besides the names of our classes."""
    return [*names, *(["none"] if field in OPTIONAL else []), "package.module:name"]


def is_none(field: str, name: object) -> bool:
    """Whether a name says that there is none of what the field names."""
    return field in OPTIONAL and name in (None, "none", "null")


def known(name: object, names: Collection[str]) -> str | None:
    """The one of our names that was given, in any case of letters; None if it is none of them."""
    return next((each for each in names if each.lower() == str(name).lower()), None)
