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
import hashlib
import re
import textwrap
from argparse import SUPPRESS
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import yaml
from jsonargparse import ArgumentError, ArgumentParser
from torch import Tensor

from raydl import algorithms, data, models
from raydl.core.errors import SpecError, unknown
from raydl.runtimes import auto, specs
from raydl.spec import Model, Run


def _named(*classes: type) -> dict[str, type]:
    return {each.__name__: each for each in classes}


CHOICES: dict[str, dict[str, type]] = {
    "algorithm": _named(*(getattr(algorithms, name) for name in algorithms.__all__)),
    "data": _named(
        data.Digits,
        data.MNIST,
        data.FashionMNIST,
        data.CIFAR10,
        data.CIFAR100,
        data.Synthetic,
        data.Parquet,
    ),
    "partition": _named(
        data.IID, data.Shards, data.Labels, data.Dirichlet, data.Quantity, data.Natural
    ),
    "participation": _named(data.Uniform, data.Skewed),
    "model": _named(*(getattr(models, name) for name in models.__all__)),
    "augmentation": _named(data.CropFlip),
    "runtime": {
        "auto": auto.Auto,
        "sequential": specs.Sequential,
        "batched": specs.Batched,
        "actors": specs.Actors,
    },
}

_OPTIONAL = {"model": "what is usual for the data", "augmentation": "none"}  # may be none
_SUPPLIED = {"shape", "classes"}  # a model's arguments that the data decides


def from_mapping(settings: Mapping[str, Any]) -> Run:
    """The run that nested or dotted settings describe; what they leave out keeps its default.

    Raises:
        SpecError: for an unknown name or field, with its nearest match, or a wrong type or value.
    """
    return parse([], settings)


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
    """
    return {
        field.name: _plain(field.name, getattr(run, field.name))
        for field in dataclasses.fields(run)
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


def parse(argv: Sequence[str], settings: Mapping[str, Any] | None = None) -> Run:
    """The run that command-line options describe, over the settings of a file.

    Raises:
        SpecError: for an unknown name or field, with its nearest match, or a wrong type or value.
    """
    named, options = _take_names(argv)
    groups, rest = _groups(settings or {}, named)
    parser = _parser({field: cls for field, (cls, _) in groups.items()})
    known = {action.dest for action in parser._actions}
    flat = flatten(rest | {field: options for field, (_, options) in groups.items()})
    for key in [*flat, *(each[2:].split("=")[0] for each in options if each.startswith("--"))]:
        if key not in known:
            group = key.rpartition(".")[0]
            near = {each for each in known if group and each.startswith(f"{group}.")}
            raise unknown("field", key, near or known - {"help"})
    try:
        parser.set_defaults(flat)
        parsed = parser.parse_args(list(options))
    except ArgumentError as error:
        raise SpecError(_reworded(str(error))) from None
    return _instantiated(parser, parsed, groups)


def help_text(argv: Sequence[str]) -> str:
    """The help for the classes that the options choose."""
    named, _ = _take_names(argv)
    groups, _ = _groups({}, named)
    default = to_mapping(Run())
    choices = ""
    for field, classes in CHOICES.items():
        names = [*classes, *(["none"] if field in _OPTIONAL else []), "package.module:name"]
        usual = default[field]["name"] if default[field] else _OPTIONAL[field]
        listed = textwrap.fill(
            f"{', '.join(names)}. Default: {usual}",
            width=78,
            initial_indent=f"  --{field:<16}",
            subsequent_indent=" " * 20,
        )
        choices += f"{listed}\n"
    parser = _parser({field: cls for field, (cls, _) in groups.items()})
    for field, (cls, _) in groups.items():
        if field in parser.groups:
            parser.groups[field].title = f"--{field} {_name(field, cls)}. {_summary(cls)}"
    parser.groups["checkpoint"].title = "Checkpoints"
    parser.groups["evaluation"].title = "Evaluation"
    return _HELP.format(choices=choices) + parser.format_help().partition("exit.\n")[2]


_HELP = """\
usage: raydl run [OPTION ...]

Trains a model by a distributed or federated algorithm. Every option has a
default; without any, 100 clients learn scikit-learn's digits by FedAvg.

  --config FILE     reads options from YAML; a run's own run.yaml repeats it.
  --resume RUN      goes on with an interrupted run, given by its folder or by
                    its name in --storage.

These choose a class, whose own options are dotted and stand further below:
`raydl run --data CIFAR100 --help` shows those of CIFAR100.

{choices}"""


def _summary(cls: type) -> str:
    return (cls.__doc__ or "").partition("\n")[0].rstrip(".")


def _plain(field: str, value: Any) -> Any:
    if isinstance(value, Model):
        return {
            "name": value.name,
            **{key: _plain(key, each) for key, each in value.settings().items()},
        }
    if isinstance(value, Tensor):
        return f"sha256:{hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()}"
    if dataclasses.is_dataclass(value):
        own = {
            each.name: _plain(each.name, getattr(value, each.name))
            for each in dataclasses.fields(value)
        }
        return {"name": _name(field, type(value)), **own} if field in CHOICES else own
    return list(value) if isinstance(value, tuple) else value


def _name(field: str, cls: type) -> str:
    names = {each: name for name, each in CHOICES[field].items()}
    return names.get(cls, f"{cls.__module__}:{cls.__qualname__}")


def _find(field: str, name: str | None) -> type | None:
    """The class that a name chooses: ours in any case of letters, or an importable one."""
    if field in _OPTIONAL and name in (None, "none", "null"):
        return None
    for known, cls in CHOICES[field].items():
        if known.lower() == str(name).lower():
            return cls
    module, colon, attribute = str(name).partition(":")
    if not colon:
        raise unknown(
            field,
            name,
            [*CHOICES[field], *(["none"] if field in _OPTIONAL else []), "package.module:name"],
        )
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"{field} {name!r} cannot be imported: {error}; it must be package.module:name, with the "
            "module on Python's path"
        ) from error


def _take_names(argv: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Parts ``--algorithm FedAvg`` and its like from the other options."""
    named, options, tokens = {}, [], iter(argv)
    for token in tokens:
        field, equals, name = token.removeprefix("--").partition("=")
        if not token.startswith("--") or field not in CHOICES:
            options.append(token)
            continue
        name = name if equals else next(tokens, None)
        if not name or name.startswith("--"):
            raise SpecError(f"--{field} needs a name: {', '.join(CHOICES[field])}")
        named[field] = name
    return named, options


def _groups(
    settings: Mapping[str, Any], named: Mapping[str, str]
) -> tuple[dict[str, tuple[type, dict[str, Any]]], dict[str, Any]]:
    """Each choice's class and its settings, and the settings of everything else."""
    nested = _nested(settings)
    default = to_mapping(Run())
    groups = {}
    for field in CHOICES:
        group = nested.pop(field, default[field]) or {"name": "none"}
        group = dict(group) if isinstance(group, Mapping) else {"name": group}
        name = group.pop("name", default[field] and default[field]["name"])
        if field in named and _find(field, named[field]) is not _find(field, name):
            name, group = named[field], {}
        if (cls := _find(field, name)) is not None:
            groups[field] = (cls, group)
    return groups, nested


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


def _parser(chosen: Mapping[str, type]) -> ArgumentParser:
    parser = ArgumentParser(prog="raydl run", usage="raydl run [OPTION ...]", exit_on_error=False)
    parser.add_class_arguments(Run, None, skip=set(CHOICES))
    for field, cls in chosen.items():
        skip = _SUPPLIED if field == "model" else set()
        parser.add_class_arguments(cls, field, skip=skip, instantiate=False)
    for action in parser._actions:
        if action.metavar == "CONFIG":
            action.help = SUPPRESS
    return parser


def _instantiated(parser: ArgumentParser, parsed: Any, groups: Mapping[str, Any]) -> Run:
    values = {}
    for field in CHOICES:
        if field not in groups:
            values[field] = None
            continue
        cls, _ = groups[field]
        fields = vars(parsed.pop(field, {})) if field in parsed else {}
        values[field] = Model(_name(field, cls), fields) if field == "model" else cls(**fields)
    return Run(**values, **vars(parser.instantiate(parsed)))


def _reworded(message: str) -> str:
    """Jsonargparse's complaint as a sentence."""
    found = re.match(r'Parser key "(.+?)":\s*(.*)', message, re.DOTALL)
    if not found:
        return message
    key, complaint = found[1], " ".join(re.sub(r"<class '(.+?)'>", r"\1", found[2]).split())
    typed = re.match(r"Expected an? (.+?)\. Got value: (.*)", complaint)
    return (
        f"{key} is {typed[2]}; it must be {typed[1].removeprefix('typing.')}"
        if typed
        else f"{key}: {complaint}"
    )
