"""The inventory of all options as the code has it, and what an own class adds to it."""

from argparse import Action
from collections.abc import Iterator
from importlib import import_module
from inspect import getdoc, getmro, isclass
from typing import Any, Literal, get_args, get_origin

from docstring_parser import parse

from raydl.config.choices import CHOICES, inner, is_list, name_of
from raydl.config.inventory.contents import Choice, Component, Inventory, Option
from raydl.config.parser import add_options, new_parser, options_of
from raydl.config.run import Run, usual_runtime
from raydl.config.serialize import plain
from raydl.core.fields import kinds

COMMANDS = {  # what describes their own options; by name, for it is above this module
    "predict": ("raydl.cli.commands.predict:Prediction",),
    "plan": ("raydl.planning.forecast:Circumstances", "raydl.planning.outline:Outline"),
    "sweep": ("tuning.sweep.config:SweepConfig",),
    "study run": ("tuning.studies.command:run",),
}


def all_options() -> Inventory:
    """Every option that there is."""
    homes: dict[str, tuple[type, str]] = {}  # of a choice, the first class that has such a field
    classes = [(field, cls) for field in CHOICES for cls in CHOICES[field].values()]
    for field, cls in [("", Run), *classes]:
        for name, choice in inner(field, cls).items():
            homes.setdefault(choice, (cls, name))
    choices = {
        field: Choice(
            _meaning(*homes[field]),
            {name_of(field, cls): describe(field, cls) for cls in each},
            is_list(*homes[field]),
        )
        for field, each in ((field, CHOICES[field].values()) for field in CHOICES)
    }
    commands = {name: [*map(_of_command, each)] for name, each in COMMANDS.items()}
    return Inventory(describe("", Run), choices, commands)


def describe(field: str, cls: Any) -> Component:
    """What a class, or a function, brings with it where a field names it.

    Args:
        field: the field; empty for a run.
        cls: the class.
    """
    parser = new_parser()
    add_options(parser, field, cls)
    prefix = f"{field}." if field else ""
    options = [_option(each, each.dest.removeprefix(prefix)) for each in options_of(parser)]
    defaults = {}
    for name, choice in inner(field, cls).items():
        usual = getattr(cls, name)
        several = is_list(cls, name)
        defaults[choice] = [_short(choice, each) for each in (usual if several else [usual])]
    if field == "algorithm":
        defaults["runtime"] = [_short("runtime", usual_runtime(cls))]
    return Component(_summary(cls), options, defaults)


def _of_command(name: str) -> Component:
    """What a class or a function says of a command; what it requires is written without a name."""
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)
    parser = new_parser()
    if isclass(found):
        parser.add_class_arguments(found, None)
    else:
        parser.add_function_arguments(found, None)
    options = [_option(each, each.dest) for each in options_of(parser)]
    return Component(_summary(found), [each for each in options if not each.required])


def _option(action: Action, name: str) -> Option:
    hint = getattr(action, "_typehint", None) or action.type or Any
    default = None if action.required else plain(name, action.default)
    meaning = " ".join((action.help or "").split())
    return Option(
        name, kinds.in_words(hint), meaning, default, bool(action.required), [*_values(hint)]
    )


def _values(hint: Any) -> Iterator[str]:
    """The words that a type allows; nothing if they cannot be counted up."""
    if hint is bool:
        yield from ("true", "false")
    elif get_origin(hint) is Literal:
        yield from map(str, get_args(hint))
    else:
        yield from ()


def _short(field: str, value: Any) -> dict[str, Any] | None:
    """What is named by default: the name, and the options that it does not have by itself."""
    told = plain(field, value)
    if told is None:
        return None
    usual = plain(field, type(value)())
    return {key: each for key, each in told.items() if key == "name" or each != usual[key]}


def _summary(cls: Any) -> str:
    return (getdoc(cls) or "").partition("\n\n")[0].replace("\n", " ").rstrip(".")


def _meaning(cls: type, field: str) -> str:
    """What the docstring of a class, or of one that it inherits from, says of a field."""
    for each in getmro(cls):
        for param in parse(each.__doc__ or "").params:
            if param.arg_name == field:
                return " ".join((param.description or "").split())
    return ""
