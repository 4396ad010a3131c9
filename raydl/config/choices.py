"""What a field of the spec can name: one of our classes, or one that can be imported."""

from dataclasses import fields, is_dataclass
from importlib import import_module
from inspect import isclass, isfunction
from typing import Any, get_origin, get_type_hints

from raydl import algorithms, data, models, optim, tasks
from raydl.algorithms.distributed import hooks, intervals
from raydl.config.names import allowed_names, choice_of, is_none, known
from raydl.config.renamed import check_class
from raydl.core.errors import SpecError, unknown
from raydl.data.own import FUNCTIONS
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.asynchrony import consistency
from raydl.runtimes.auto import Auto
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.parameter_server.spec import ShardedServer
from raydl.runtimes.simulated import compute_time
from raydl.runtimes.simulated.spec import Simulated


def _by_name(*classes: type) -> dict[str, type]:
    return {each.__name__: each for each in classes}


CHOICES: dict[str, dict[str, type]] = {
    "algorithm": _by_name(*(getattr(algorithms, name) for name in algorithms.__all__)),
    "data": _by_name(
        data.Digits,
        data.MNIST,
        data.FashionMNIST,
        data.CIFAR10,
        data.CIFAR100,
        data.EMNIST,
        data.Shakespeare,
        data.Leaf,
        data.Synthetic,
        data.Prepared,
        data.ImageFolder,
        data.Table,
        data.HuggingFace,
    ),
    "partition": {
        "IID": data.IID,
        "Shards": data.Shards,
        "Labels": data.ClassesPerClient,
        "Dirichlet": data.Dirichlet,
        "Quantity": data.QuantitySkew,
        "Natural": data.Natural,
        "Pachinko": data.Pachinko,
        "Mixed": data.Mixed,
        "PowerLaw": data.PowerLaw,
    },
    "participation": _by_name(
        data.Uniform,
        data.Skewed,
        data.PowerOfChoice,
        data.Oort,
        data.LossProportional,
        data.Daily,
        data.Intervals,
    ),
    "model": _by_name(*(getattr(models, name) for name in models.__all__)),
    "augmentation": _by_name(data.CropFlip, data.Transforms),
    "task": _by_name(*tasks.TASKS),
    "runtime": {
        "auto": Auto,
        "sequential": Sequential,
        "batched": Batched,
        "actors": Actors,
        "allreduce": AllReduce,
        "simulated": Simulated,
        "parameter_server": ShardedServer,
    },
    "algorithm.optimizer": _by_name(*optim.OPTIMIZERS),
    "algorithm.schedule": _by_name(*optim.SCHEDULES),
    "algorithm.hook": _by_name(hooks.Plain, hooks.BF16, hooks.PowerSGD),
    "algorithm.interval": _by_name(
        intervals.Fixed, intervals.PostLocal, intervals.Growing, intervals.QSR, intervals.AdaComm
    ),
    "runtime.consistency": _by_name(
        consistency.Synchronous, consistency.Asynchronous, consistency.StaleSynchronous
    ),
    "runtime.speed": _by_name(
        compute_time.Lognormal, compute_time.Exponential, compute_time.Measured
    ),
}

METHODS = {  # what a class, or an object, must have to be one
    "algorithm": "build",
    "data": "load",
    "partition": "assign",
    "participation": "cohorts",
    "augmentation": "__call__",
    "task": "losses",
    "runtime": "launch",
    "algorithm.optimizer": "rule",
    "algorithm.schedule": "build",
    "algorithm.interval": "build",
    "algorithm.hook": "open",
    "runtime.consistency": "quorum",
    "runtime.speed": "pace",
}
_ALSO = {"participation": ("selector",)}  # which does, instead


def methods(field: str) -> tuple[str, ...]:
    """The methods of which what a field names must have one."""
    return (METHODS[field], *_ALSO.get(field, ()))


def inner(path: str, cls: Any) -> dict[str, str]:
    """The fields of a class that name classes in turn, each with its path.

    Args:
        path: where the class is, dotted; empty for a `Run`.
        cls: the class.
    """
    own = sorted(each.name for each in fields(cls)) if is_dataclass(cls) else []
    paths = {name: f"{path}.{name}" if path else name for name in own}
    return {name: path for name, path in paths.items() if choice_of(path) in CHOICES}


def is_list(cls: type, field: str) -> bool:
    """Whether a field of a class names several classes, one after another."""
    return get_origin(get_type_hints(cls)[field]) is tuple


def find(field: str, name: Any) -> Any:
    """The class that a name chooses: ours in any case of letters, or an importable one.

    Returns:
        A class; of a model also a function that makes one; of data, partition, participation and
        augmentation also a function that is one; None if the name is that of none.

    Raises:
        SpecError: if there is none of that name, or it is not what the field needs.
    """
    if is_none(field, name):
        return None
    if (ours := known(name, CHOICES[field])) is not None:
        return CHOICES[field][ours]
    check_class(field, str(name))
    module, _, attribute = str(name).partition(":")
    if not (module and attribute) or module.startswith("."):
        raise unknown(field, str(name), allowed_names(field, CHOICES[field]))
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
    if field not in METHODS:
        return
    needed = methods(field)
    if not (isclass(found) and any(hasattr(found, each) for each in needed)):
        raise SpecError(f"{field} {name!r} must name a class with the method {' or '.join(needed)}")
