"""What ``raydl run --help`` prints, from the inventory: no import of torch is needed for it."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, TypeAlias

from raydl.config.inventory.contents import Component, Option, inventory
from raydl.config.names import OPTIONAL, allowed_names, choice_of, is_none, known, take_names
from raydl.config.renamed import check_class
from raydl.core.errors import SpecError, unknown

_WIDTH = 96  # of a line


def help_text(argv: Sequence[str]) -> str:
    """The choices, and every option of the classes that the command line chooses.

    Raises:
        SpecError: if it names a class that there is not.
    """
    parts = _find_parts(argv)
    run = inventory().run
    shown = [_choices(parts)]
    for path, (name, part) in parts.items():
        if part.options:
            heading = f"--{path} {name}. {part.summary}:"
            shown.append(f"{_fill(heading, '')}{list_options(part.options, f'{path}.')}")
    for group, heading in _GROUPS.items():
        options = [each for each in run.options if each.name.rpartition(".")[0] == group]
        shown.append(f"{heading}:\n{list_options(options)}")
    return "\n".join(shown)


def search(word: str) -> str:
    """Every option and every class that has a word in its name or its meaning.

    Raises:
        SpecError: if there is none, with the nearest name of an option.
    """
    lines: dict[tuple[str, ...], list[str]] = {}  # by what is shown of an option: the classes
    for name, cls, option in _all_options():
        if word.lower() in f"{name} {option.help}".lower():
            lines.setdefault((name, _meaning(option)), []).append(cls)
    options = [
        row(f"--{name}", " ".join(filter(None, [_of(classes), meaning])))
        for (name, meaning), classes in sorted(
            lines.items(), key=lambda each: word.lower() not in each[0][0].lower()
        )
    ]
    classes = [
        row(f"--{path} {name}", each.summary)
        for path, choice in inventory().choices.items()
        for name, each in choice.classes.items()
        if word.lower() in f"{name} {each.summary}".lower()
    ]
    if not options and not classes:
        names = {name.rpartition(".")[2] for name, _, _ in _all_options()}
        near = get_close_matches(word.lower(), sorted(names), n=1, cutoff=0.5)
        raise SpecError(
            f"no option has {word!r} in its name or its meaning"
            + (f"; did you mean {near[0]!r}?" if near else "; raydl run --help shows them")
        )
    return "".join([*classes, *options])


def words_of_a_run(argv: Sequence[str]) -> dict[str, list[str]]:
    """The options of a run by their names, with the words that each of them may be.

    Args:
        argv: what is given so far, which chooses the classes.

    Returns:
        An empty list for an option that is not one of a few words.

    Raises:
        SpecError: if a class is chosen that there is not.
    """
    parts, choices = _find_parts(argv), inventory().choices
    names = {each: [*choices[each].classes] for each in choices if each in _fields(parts)}
    names |= {each: [*names[each], "none"] for each in OPTIONAL}
    inside = {
        f"{path}.{each.name}": each.values
        for path, (_, part) in parts.items()
        for each in part.options
    }
    return names | inside | {each.name: each.values for each in inventory().run.options}


def list_options(options: Iterable[Option], prefix: str = "") -> str:
    """Options, each with its meaning, type and default."""
    return "".join(row(f"--{prefix}{each.name}", _meaning(each)) for each in options)


def row(name: str, meaning: str, indent: int = 2, column: int = 26) -> str:
    """A name, and what it means: beside it from a column on, or below it if it is longer."""
    head = f"{'':{indent}}{name}"
    if len(head) + 2 <= column:
        return _fill(meaning, f"{head:{column}}")
    return f"{head}\n" + _fill(meaning, " " * column)


def _fill(text: str, first: str) -> str:
    return (
        textwrap.fill(
            text,
            width=_WIDTH,
            initial_indent=first,
            subsequent_indent=" " * len(first),
            break_on_hyphens=False,
        )
        + "\n"
    )


def _meaning(option: Option) -> str:
    default = "required" if option.required else f"default: {_literal(option.default)}"
    return f"{option.help} ({option.kind}, {default})"


def _literal(value: Any) -> str:
    return "null" if value is None else str(value)


def _of(classes: Sequence[str]) -> str:
    return f"[{', '.join(classes)}]" if any(classes) else ""


def _all_options() -> Iterator[tuple[str, str, Option]]:
    """Each option's dotted name, the name of its class, and the option."""
    for path, choice in inventory().choices.items():
        for cls, part in choice.classes.items():
            yield from ((f"{path}.{each.name}", cls, each) for each in part.options)
    yield from ((each.name, "", each) for each in inventory().run.options)


Parts: TypeAlias = dict[str, tuple[str, Component]]  # by path: the name, and what it brings


def _find_parts(argv: Sequence[str]) -> Parts:
    """What the command line chooses, outer classes before those inside of them."""
    choices = inventory().choices
    named, _ = take_names(argv, {field: each.classes for field, each in choices.items()})
    parts: Parts = {}
    defaults = dict(inventory().run.defaults)
    for field, choice in choices.items():
        usual = defaults.get(field, [])
        names: Sequence[str | None] = [each["name"] if each else None for each in usual]
        if field in named:
            several = [each for word in named[field] for each in word.split(",")]
            names = several if choice.several else named[field][-1:]
        for at, name in enumerate(names):
            if name is None or is_none(field, name):
                continue
            called, part = _part(field, name)
            if at < len(usual) and (settings := usual[at]) and settings["name"] == called:
                part = _with(part, settings)
            parts[f"{field}.{at}" if choice.several else field] = called, part
            defaults |= part.defaults
    return dict(sorted(parts.items(), key=lambda each: _rank(each[0])))


def _fields(parts: Parts) -> list[str]:
    """The fields that name a class, of the run and of those that are chosen."""
    having = [inventory().run, *(part for _, part in parts.values())]
    return list(dict.fromkeys(field for each in having for field in each.defaults))


def _rank(path: str) -> int:
    """Where a choice is shown: what is inside of a class beside it."""
    return list(inventory().choices).index(path.partition(".")[0])


def _part(field: str, name: str) -> tuple[str, Component]:
    """What a name chooses: one of ours, or an own class, which is imported."""
    classes = inventory().choices[field].classes
    if (ours := known(name, classes)) is not None:
        return ours, classes[ours]
    check_class(field, name)
    if ":" not in name:
        raise unknown(field, name, allowed_names(field, classes))
    from raydl.config.choices import find
    from raydl.config.inventory.describe import describe

    return name, describe(field, find(field, name))


def _with(part: Component, settings: Mapping[str, Any]) -> Component:
    """A class whose options have other defaults where it is named."""
    options = [
        replace(each, default=settings.get(each.name, each.default)) for each in part.options
    ]
    return replace(part, options=options)


def _choices(parts: Parts) -> str:
    """The fields that name a class, with the names, and those that are chosen."""
    shown = ""
    for field in sorted(_fields(parts), key=_rank):
        choice = inventory().choices[field]
        names = [name for path, (name, _) in parts.items() if choice_of(path) == field]
        here = ", ".join(names) or OPTIONAL.get(field, "none")
        name = "NAME,..." if choice.several else "NAME"
        shown += row(f"--{field} {name}", f"{choice.help.rstrip('.')} (here: {here})")
        for name, each in choice.classes.items():
            shown += row(name, each.summary, indent=6)
    return shown


_GROUPS = {
    "": "Every run",
    "checkpoint": "Checkpoints",
    "evaluation": "Evaluation",
    "stop": "Early stopping",
}
