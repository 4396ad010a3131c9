"""A run's values as ``run.yaml`` holds them: plain ones as they are, all else by name or digest."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from enum import Enum
from functools import partial
from inspect import isclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from raydl.config.choices import CHOICES, name_of
from raydl.config.given import isroutine, kind_of
from raydl.config.run import Model
from raydl.core.errors import SpecError, brief
from raydl.core.fields import kinds

_PLAIN: tuple[type[Any], ...] = (bool, int, float, str)


def plain(field: str, value: Any) -> Any:
    """A value of the spec for YAML: `from_mapping` of what a run's values become is the run again.

    Of an own object that is no dataclass, its attributes that YAML can hold, but those with a _
    before their names. Tensors and arrays are told by their digests, functions and classes by their
    names.

    Raises:
        SpecError: naming the field, if YAML cannot hold the value.
    """
    value = kinds.plain(value.value if isinstance(value, Enum) else value)
    kind = next((each for each in _PLAIN if isinstance(value, each)), None)
    if kind is not None or value is None:
        return value if kind is None or type(value) is kind else kind(value)
    if isinstance(value, Model):
        return {"name": value.name} | _each(field, value.settings())
    if field in CHOICES and isinstance(value, tuple):
        return [plain(field, each) for each in value]
    if field in CHOICES:
        own = _attributes(field, value)
        called = {"called": own.pop("name")} if "name" in own else {}
        return {"name": name_of(field, kind_of(value))} | own | called
    if isinstance(value, Tensor | np.ndarray):
        return f"sha256:{_digest(value)}"
    if dataclasses.is_dataclass(value) and not isclass(value):
        return _attributes(field, value)
    if isinstance(value, Mapping):
        return _each(field, value)
    if isinstance(value, list | tuple):
        return [plain(f"{field}[{at}]", each) for at, each in enumerate(value)]
    return _name_of(field, value)


def _each(field: str, values: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(key): plain(f"{field}.{key}", each) for key, each in values.items()}


def _attributes(field: str, value: Any) -> dict[str, Any]:
    """The fields of a dataclass; of any other object those attributes that YAML can hold."""
    if kind_of(value) is not type(value):  # a function
        return {}
    if dataclasses.is_dataclass(value):
        return _each(field, dict(map(partial(_told, value), dataclasses.fields(value))))
    held = {}
    for name, each in getattr(value, "__dict__", {}).items():
        if not name.startswith("_"):
            try:
                held[name] = plain(f"{field}.{name}", each)
            except SpecError:
                continue
    return held


def _told(spec: Any, field: dataclasses.Field[Any]) -> tuple[str, Any]:
    """A field of a spec, and what is told of its value: what its metadata says of that, if any."""
    value = getattr(spec, field.name)
    return field.name, field.metadata.get("told", lambda own: own)(value)


def _name_of(field: str, value: Any) -> str:
    """A value that is told by its name.

    Raises:
        SpecError: if it has none.
    """
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, torch.dtype | torch.device):
        return str(value)
    if isclass(value) or isroutine(value) or isinstance(value, np.ufunc):
        written = isclass(value) or hasattr(value, "__code__")  # in Python; else torch's, NumPy's
        return f"{value.__module__}:{value.__qualname__ if written else value.__name__}"
    what = "give its class or a function" if isinstance(value, nn.Module) else "give plain values"
    raise SpecError(
        f"{field} is {brief(value)}, which run.yaml cannot hold; {what}: numbers, words, lists of "
        "them, tensors, or classes and functions, which are told by their names"
    )


def _digest(value: Tensor | np.ndarray) -> str:
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
    flat = value.detach().cpu().contiguous().reshape(-1)
    return hashlib.sha256(flat.view(torch.uint8).numpy().tobytes()).hexdigest()
