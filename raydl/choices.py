"""What a field of the spec can name: one of our classes, or one that can be imported."""

from dataclasses import fields, is_dataclass
from importlib import import_module
from inspect import isclass, isfunction
from typing import Any

from raydl import algorithms, data, models
from raydl.algorithms import hooks, intervals
from raydl.core.errors import SpecError, unknown
from raydl.data.own import FUNCTIONS
from raydl.optim import schedule
from raydl.optim import specs as optimizers
from raydl.runtimes import auto, consistency, serving, simulated, specs, speed


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
        "allreduce": specs.AllReduce,
        "simulated": simulated.Simulated,
        "parameter_server": serving.ParameterServer,
    },
    "algorithm.optimizer": _named(
        *(getattr(optimizers, name) for name in ("SGD", "AdamW", "LARS", "LAMB")),
        *(getattr(optimizers, name) for name in ("Adagrad", "Adam", "Yogi")),
    ),
    "algorithm.schedule": _named(
        schedule.Constant, schedule.Cosine, schedule.Polynomial, schedule.Step
    ),
    "algorithm.hook": _named(hooks.Plain, hooks.BF16, hooks.PowerSGD),
    "algorithm.interval": _named(
        intervals.Constant, intervals.PostLocal, intervals.Growing, intervals.QSR, intervals.AdaComm
    ),
    "runtime.consistency": _named(
        consistency.Synchronous, consistency.Asynchronous, consistency.StaleSynchronous
    ),
    "runtime.speed": _named(speed.Lognormal, speed.Exponential, speed.Measured),
}

OPTIONAL = {"model": "what is usual for the data", "augmentation": "none"}  # may be none

METHODS = {  # what a class, or an object, must have to be one
    "algorithm": "build",
    "data": "load",
    "partition": "assign",
    "participation": "cohorts",
    "augmentation": "__call__",
    "runtime": "drive",
    "algorithm.optimizer": "rule",
    "algorithm.schedule": "build",
    "algorithm.interval": "build",
    "algorithm.hook": "open",
    "runtime.consistency": "enough",
    "runtime.speed": "pace",
}


def inner(field: str, cls: type) -> dict[str, str]:
    """The fields of a class that name a class in turn, with the choice that each of them is."""
    own = {each.name for each in fields(cls)} if is_dataclass(cls) else set()
    prefixed = {name: f"{field}.{name}" for name in sorted(own)}
    return {name: choice for name, choice in prefixed.items() if choice in CHOICES}


def allowed(field: str) -> list[str]:
    """What may stand for a field's name."""
    return [
        *CHOICES[field],
        *(["none"] if field in OPTIONAL else []),
        "package.module:name",
    ]


def find(field: str, name: Any) -> Any:
    """The class that a name chooses: ours in any case of letters, or an importable one.

    Returns:
        A class; of a model also a function that makes one; of data, partition, participation and
        augmentation also a function that is one; None if the name is that of none.

    Raises:
        SpecError: if there is none of that name, or it is not what the field needs.
    """
    if field in OPTIONAL and name in (None, "none", "null"):
        return None
    for known, cls in CHOICES[field].items():
        if known.lower() == str(name).lower():
            return cls
    module, _, attribute = str(name).partition(":")
    if not (module and attribute) or module.startswith("."):
        raise unknown(field, str(name), allowed(field))
    try:
        found = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"{field} {name!r} cannot be imported: {error}; it must be package.module:name, with "
            "the module on Python's path"
        ) from error
    _check(field, name, found)
    return found


def name_of(field: str, cls: Any) -> str:
    """The name that chooses a class or a function: the inverse of `find`."""
    names = {each: name for name, each in CHOICES[field].items()}
    return names.get(cls, f"{cls.__module__}:{cls.__qualname__}")


def _check(field: str, name: str, found: Any) -> None:
    if field == "model" and not (isclass(found) or isfunction(found)):
        raise SpecError(
            f"model {name!r} is {found!r}; it must name an nn.Module class, or a function that "
            "makes a module"
        )
    if isfunction(found) and field in (*FUNCTIONS, "augmentation"):
        return
    if field in METHODS and not (isclass(found) and hasattr(found, METHODS[field])):
        raise SpecError(f"{field} {name!r} must name a class with the method {METHODS[field]}")
