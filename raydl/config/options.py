"""A run's spec from YAML and dotted options, and back.

A field that names one of several classes (``algorithm``, ``data``, ...) is written as the name
alone, or as a mapping of its ``name`` and its fields:

    algorithm: {name: FedAvg, lr: 0.1}
    data: CIFAR100
    rounds: 100

On the command line the same reads ``--algorithm FedAvg --algorithm.lr 0.1 --data CIFAR100
--rounds 100``.
"""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from inspect import isclass
from itertools import count, takewhile
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace

from raydl.config.choices import CHOICES, inner, is_list, name_of
from raydl.config.names import OPTIONAL, OUTER, take_names
from raydl.config.parser import add_options, new_parser, options_of, parsing
from raydl.config.renamed import check_option
from raydl.config.run import Model, Run
from raydl.config.selection import Groups, select
from raydl.config.serialize import plain
from raydl.core.errors import SpecError, unknown


def from_mapping(settings: Mapping[str, Any]) -> Run:
    """The run that nested or dotted settings describe; what they leave out keeps its default.

    Raises:
        SpecError: for an unknown name or field, with its nearest match, or a wrong type or value.
    """
    return parse([], settings)


def change(run: Run, settings: Mapping[str, Any]) -> Run:
    """A run with some of its fields changed, which are named as on the command line.

    Raises:
        SpecError: as `from_mapping` does.
    """
    return parse([f"--{field}={_token(settings[field])}" for field in settings], to_mapping(run))


def from_yaml(text: str, origin: str) -> dict[str, Any]:
    """The settings that a YAML text holds; ``origin`` is named in errors."""
    try:
        settings = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise SpecError(f"{origin} is not YAML: {error}") from error
    if not isinstance(settings, Mapping):
        raise SpecError(f"{origin} holds {type(settings).__name__}; it must be a mapping of fields")
    return dict(settings)


def from_config(file: str) -> dict[str, Any]:
    """The settings that the file of ``--config`` holds.

    Raises:
        SpecError: if it cannot be read, or holds none.
    """
    try:
        text = Path(file).read_text()
    except OSError as error:
        raise SpecError(f"--config {file!r} cannot be read: {error.strerror}") from error
    return from_yaml(text, file)


def to_mapping(run: Run) -> dict[str, Any]:
    """The run as plain nested settings, for YAML: `from_mapping` of them is the run again.

    Own tensors and objects that have no importable name are told by what identifies them; a run
    with them can only be made in Python.

    Raises:
        SpecError: naming the field, if YAML cannot hold what it is.
    """
    return {
        field.name: plain(field.name, getattr(run, field.name)) for field in dataclasses.fields(run)
    }


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as dotted ones."""
    flat: dict[str, Any] = {}
    for key, value in settings.items():
        flat |= (
            flatten(value, f"{prefix}{key}.")
            if isinstance(value, Mapping)
            else {f"{prefix}{key}": value}
        )
    return flat


def differences(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two dotted settings differ in, a line for each."""
    return [
        f"  {key}: {was.get(key)} then, {now.get(key)} now"
        for key in sorted(was.keys() | now.keys())
        if was.get(key) != now.get(key)
    ]


def parse(argv: Sequence[str], settings: Mapping[str, Any] | None = None) -> Run:
    """The run that command-line options describe, over the settings of a file.

    Raises:
        SpecError: for an unknown name or field, with its nearest match, or a wrong type or value.
    """
    named, options = take_names(argv, CHOICES)
    groups = select(settings or {}, named)
    parser = new_parser()
    for path, group in groups.items():
        add_options(parser, path, group.cls)
    flat: dict[str, Any] = {}
    for path, group in groups.items():
        flat |= flatten(group.settings, f"{path}." if path else "")
    known = {each.dest: each.help or "" for each in options_of(parser)}
    options = [_add_prefix(each, known) for each in options]
    unnamed = {each for each in OPTIONAL if each not in groups}
    given = [*flat, *(_key(each) for each in options if each.startswith("--"))]
    _check_known(given, known.keys(), unnamed)
    with parsing("raydl run"):
        parsed = parser.parse_args([*(f"--{key}={_token(flat[key])}" for key in flat), *options])
    return _make_run(parser.instantiate(parsed), groups)


def _key(option: str) -> str:
    return option[2:].partition("=")[0]


def _add_prefix(token: str, known: Mapping[str, str]) -> str:
    """``--batch_size`` as ``--algorithm.batch_size``, if it can mean nothing else.

    Args:
        token: what was written.
        known: the options that there are, with their meanings.

    Raises:
        SpecError: with both of them, if it has two meanings.
    """
    if not token.startswith("--") or _key(token) in known:
        return token
    means = [each for each in (f"{field}.{_key(token)}" for field in OUTER) if each in known]
    if len(means) > 1:
        said = ", and ".join(f"--{each}, {_first_clause(known[each])}" for each in means)
        raise SpecError(f"--{_key(token)} has two meanings: {said}; name one")
    return f"--{means[0]}{token[2 + len(_key(token)) :]}" if means else token


def _first_clause(text: str) -> str:
    return re.split(r"[;:.](?:\s|$)", text, maxsplit=1)[0]


def _check_known(keys: Sequence[str], known: AbstractSet[str], unnamed: AbstractSet[str]) -> None:
    for key in keys:
        if key in known:
            continue
        for each in (key, *(f"{field}.{key}" for field in OUTER)):
            check_option(each)
        group = key.partition(".")[0]
        if group in unnamed:
            raise SpecError(f"{key} is an option of some {group}; name which one with --{group}")
        near = {each for each in known if each.startswith(f"{group}.")}
        raise unknown("field", key, near or known | CHOICES.keys())


def _token(value: Any) -> str:
    """A setting as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _make_run(parsed: Namespace, groups: Groups) -> Run:
    """The run of parsed options."""
    made: dict[str, Any] = {}
    for path in reversed([*filter(None, groups)]):  # what is named inside of a class comes after it
        cls = groups[path].cls
        own = vars(parsed.pop(path)) if path in parsed else {}
        own |= _take(made, path, cls)
        if path == "model":
            made[path] = Model.chosen(name_of(path, cls), own)
        else:
            made[path] = cls(**own) if isclass(cls) else cls
    return Run(**vars(parsed) | _take(made, "", Run))


def _take(made: dict[str, Any], path: str, cls: Any) -> dict[str, Any]:
    """What was made for the fields of a class that name something; null for what names nothing."""
    taken = {}
    for name, inside in inner(path, cls).items():
        if is_list(cls, name):
            numbered = takewhile(made.__contains__, (f"{inside}.{at}" for at in count()))
            taken[name] = tuple(made.pop(each) for each in [*numbered])
        else:
            taken[name] = made.pop(inside, None)
    return taken
