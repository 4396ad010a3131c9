"""Parsers: jsonargparse checks the types of options, and takes their meanings from docstrings."""

import re
from argparse import Action
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from inspect import isclass, isfunction
from typing import Any, get_type_hints

from docstring_parser import parse
from jsonargparse import ArgumentError, ArgumentParser

from raydl.config.choices import inner
from raydl.config.run import FROM_DATA, Model, own_options
from raydl.core.environment.compat import actions
from raydl.core.errors import SpecError


def new_parser() -> ArgumentParser:
    """A parser that raises its errors."""
    return ArgumentParser(prog="raydl run", usage="raydl run [OPTION ...]", exit_on_error=False)


def add_options(parser: ArgumentParser, path: str, cls: Any) -> None:
    """Adds the options of a class to a parser, but those that name classes in turn.

    Args:
        parser: the parser.
        path: of the field that names the class; empty for a run.
        cls: the class, or a function that makes a model.
    """
    if isfunction(cls) and path != "model":
        return  # what it is called with is not the user's to say
    skip: set[str | int] = {*FROM_DATA} if path == "model" else {*inner(path, cls)}
    if isclass(cls):
        parser.add_class_arguments(
            cls, path or None, skip=skip, instantiate=not path, fail_untyped=False
        )
    else:
        parser.add_function_arguments(cls, path, skip=skip, fail_untyped=False)
    if path == "model":
        _add_own_options(parser, cls)


def _add_own_options(parser: ArgumentParser, factory: Any) -> None:
    """Adds what every model can be told, whatever its factory takes."""
    meanings = {each.arg_name: each.description for each in parse(Model.__doc__ or "").params}
    hints, defaults = get_type_hints(Model), {each.name: each.default for each in fields(Model)}
    for name in own_options(factory):
        parser.add_argument(
            f"--model.{name}", type=hints[name], default=defaults[name], help=meanings[name]
        )


def options_of(parser: ArgumentParser) -> list[Action]:
    """The options of a parser, without those that it has by itself."""
    return [each for each in actions(parser) if each.dest != "help" and each.metavar != "CONFIG"]


@contextmanager
def parsing(command: str) -> Iterator[None]:
    """Makes of what jsonargparse complains about a SpecError that sends to a command's help."""
    try:
        yield
    except ArgumentError as error:
        raise SpecError(_reword(str(error), command)) from None


def _reword(message: str, command: str) -> str:
    message = " ".join(re.sub(r"<class '(.+?)'>", r"\1", message).split())
    for pattern in (
        r'Parser key "(?P<key>.+?)": Expected an? (?P<type>.+?)\. Got value: ?(?P<given>.*)',
        r'Parser key "(?P<key>.+?)": .* Subtypes: \[(?P<type>.+?)\] .* Given value: ?(?P<given>.*)',
    ):
        if found := re.fullmatch(pattern, message):
            return (
                f"{found['key']} is {found['given']!r}; it must be {_describe_type(found['type'])}"
            )
    return f"{message}; see {command} --help"


def _describe_type(hint: str) -> str:
    """A type as a person would write it: ``'drop' or 'fail'``, ``int or null``."""
    if hint == "tuple":
        return "a list, such as '[A,B]'"
    hint = re.sub(r"(\w+\.)+", "", hint).replace("NoneType", "null")
    return re.sub(r"Literal\[(.+)\]", r"\1", hint).replace(", ", " or ")
