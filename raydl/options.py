"""A run's spec from YAML and dotted options, and back.

A field that names one of several classes (``algorithm``, ``data``, ...) is written as the name
alone, or as a mapping of its ``name`` and its fields:

    algorithm: {name: FedAvg, lr: 0.1}
    data: CIFAR100
    rounds: 100

On the command line the same reads ``--algorithm FedAvg --algorithm.lr 0.1 --data CIFAR100
--rounds 100``. jsonargparse checks the types and writes the help from the docstrings.
"""

import dataclasses
import json
import re
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence, Set
from inspect import isclass, isfunction
from typing import Any, TypeAlias

import yaml
from jsonargparse import ArgumentError, ArgumentParser

from raydl.choices import CHOICES, find, inner, name_of
from raydl.core.errors import SpecError, unknown
from raydl.plain import plain
from raydl.spec import SUPPLIED, Model, Run, usual_runtime


def from_mapping(settings: Mapping[str, Any]) -> Run:
    """The run that nested or dotted settings describe; what they leave out keeps its default.

    Raises:
        SpecError: for an unknown name or field, with its nearest match, or a wrong type or value.
    """
    return parse([], settings)


def changed(run: Run, settings: Mapping[str, Any]) -> Run:
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
    named, options = take_names(argv)
    groups, rest = chosen_groups(settings or {}, named)
    parser = parser_for(groups)
    flat = flatten(rest | {field: options for field, (_, options) in groups.items()})
    known = {each.dest for each in parser._actions if each.metavar != "CONFIG"} - {"help"}
    options = [_prefixed(each, known) for each in options]
    _check_known(
        [*flat, *(_key(each) for each in options if each.startswith("--"))],
        known,
        CHOICES.keys() - groups.keys(),
    )
    try:
        parsed = parser.parse_args([*(f"--{key}={_token(flat[key])}" for key in flat), *options])
    except ArgumentError as error:
        raise SpecError(reworded(str(error))) from None
    return _instantiated(parser, parsed, groups)


def _key(option: str) -> str:
    return option[2:].partition("=")[0]


def _prefixed(token: str, known: Set[str]) -> str:
    """``--batch_size`` as ``--algorithm.batch_size``, ``--workers`` maybe as the runtime's."""
    if token.startswith("--") and _key(token) not in known:
        for field in ("algorithm", "runtime"):
            if f"{field}.{_key(token)}" in known:
                return f"--{field}.{token[2:]}"
    return token


def _check_known(keys: Sequence[str], known: Set[str], unnamed: Set[str]) -> None:
    for key in keys:
        if key in known:
            continue
        group = key.partition(".")[0]
        if group in unnamed:
            raise SpecError(f"{key} is an option of some {group}; name which one with --{group}")
        near = {each for each in known if each.startswith(f"{group}.")}
        raise unknown("field", key, near or known | CHOICES.keys())


def _token(value: Any) -> str:
    """A setting as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def take_names(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Parts ``--algorithm FedAvg`` and its like from the other options."""
    named, options, tokens = {}, [], iter(argv)
    for token in tokens:
        field, equals, name = token.removeprefix("--").partition("=")
        inside = (f"{parent}.{field}" for parent in ("algorithm", "runtime"))
        field = next((each for each in inside if each in CHOICES), field)
        if not token.startswith("--") or field not in CHOICES:
            options.append(token)
            continue
        name = name if equals else next(tokens, None)
        if not name or name.startswith("--"):
            raise SpecError(f"--{field} needs a name: {', '.join(CHOICES[field])}")
        named[field] = name
    return named, options


Groups: TypeAlias = dict[str, tuple[type, dict[str, Any]]]  # by field: the class, its settings


def chosen_groups(
    settings: Mapping[str, Any], named: Mapping[str, str]
) -> tuple[Groups, dict[str, Any]]:
    """Each choice's class and its settings, and the settings of everything else."""
    nested, groups = _nested(settings), {}
    default = to_mapping(Run())
    for field in CHOICES:
        if field == "runtime":
            default[field] = plain(field, usual_runtime(groups["algorithm"][0]))
        if "." not in field:
            groups |= _chosen(field, nested.pop(field, default[field]), default[field], named)
    for field in named:
        if "." in field and field not in groups:
            parent, _, name = field.rpartition(".")
            having = [each for each, cls in CHOICES[parent].items() if name in inner(parent, cls)]
            raise SpecError(
                f"{name_of(parent, groups[parent][0])} has no {name}; {', '.join(having)} have one"
            )
    return groups, nested


def _chosen(field: str, given: Any, usual: Any, named: Mapping[str, str]) -> Groups:
    """The class that a field names, with its settings, and those that it names in turn."""
    group = dict(given) if isinstance(given, Mapping) else {"name": given or "none"}
    name = group.pop("name", usual and usual["name"])
    if field in named and find(field, named[field]) is not find(field, name):
        name, group = named[field], {}
    cls = find(field, name)
    if cls is None:
        return {}
    if usual and find(field, usual["name"]) is cls:
        group = {key: each for key, each in usual.items() if key != "name"} | group
    found: Groups = {}
    for own, choice in inner(field, cls).items():
        default = plain(choice, getattr(cls, own))
        found |= _chosen(choice, group.pop(own, default), default, named)
    return {field: (cls, group)} | found


def _nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose dotted keys have become mappings."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        first, _, rest = str(key).partition(".")
        value = _nested({rest: value}) if rest else value
        value = _nested(value) if isinstance(value, Mapping) else value
        if isinstance(nested.get(first), str) and isinstance(value, Mapping):
            nested[first] = {"name": nested[first]}
        if isinstance(nested.get(first), dict):
            value = nested[first] | (value if isinstance(value, Mapping) else {"name": value})
        nested[first] = value
    return nested


def parser_for(groups: Groups) -> ArgumentParser:
    """The parser of everything but the choices themselves."""
    parser = ArgumentParser(prog="raydl run", usage="raydl run [OPTION ...]", exit_on_error=False)
    parser.add_class_arguments(Run, None, skip=set(CHOICES))
    for field, (cls, _) in groups.items():
        skip = SUPPLIED if field == "model" else set(inner(field, cls))
        if isfunction(cls) and field != "model":
            continue  # what it is called with is not the user's to say
        if isclass(cls):
            parser.add_class_arguments(cls, field, skip=skip, instantiate=False, fail_untyped=False)
        else:
            parser.add_function_arguments(cls, field, skip=skip, fail_untyped=False)
    for action in parser._actions:
        if action.metavar == "CONFIG":
            action.help = SUPPRESS
    return parser


def _instantiated(parser: ArgumentParser, parsed: Any, groups: Mapping[str, Any]) -> Run:
    values: dict[str, Any] = dict.fromkeys(each for each in CHOICES if "." not in each)
    for field in reversed(groups):  # what is named inside of a class comes after it
        cls, _ = groups[field]
        own = vars(parsed.pop(field, {})) if field in parsed else {}
        own |= {name: values.pop(choice) for name, choice in inner(field, cls).items()}
        if field == "model":
            values[field] = Model(name_of(field, cls), own)
        else:
            values[field] = cls(**own) if isclass(cls) else cls
    return Run(**values, **vars(parser.instantiate(parsed)))


def reworded(message: str, command: str = "raydl run") -> str:
    """Jsonargparse's complaint as a sentence, which sends to a command's help."""
    message = " ".join(re.sub(r"<class '(.+?)'>", r"\1", message).split())
    for pattern in (
        r'Parser key "(?P<key>.+?)": Expected an? (?P<type>.+?)\. Got value: ?(?P<given>.*)',
        r'Parser key "(?P<key>.+?)": .* Subtypes: \[(?P<type>.+?)\] .* Given value: ?(?P<given>.*)',
    ):
        if found := re.fullmatch(pattern, message):
            return f"{found['key']} is {found['given']!r}; it must be {_spoken(found['type'])}"
    return f"{message}; see {command} --help"


def _spoken(hint: str) -> str:
    """A type as a person would write it: ``'drop' or 'fail'``, ``int or null``."""
    hint = re.sub(r"(\w+\.)+", "", hint).replace("NoneType", "null")
    return re.sub(r"Literal\[(.+)\]", r"\1", hint).replace(", ", " or ")
