"""What modules keep besides parameters and buffers, as a training pass finds and leaves it."""

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_TORCHS_OWN = {"_parameters", "_buffers", "_modules", "training"}  # of a module's attributes
_PLAIN = (type(None), bool, int, float, complex, str, bytes)
_CODE = (type, FunctionType, BuiltinFunctionType, MethodType, ModuleType, nn.Module)


_COPIES: dict[type, Callable[[Any], Any]] = {
    Tensor: lambda tensor: tensor.detach().clone(),
    np.ndarray: np.copy,
    torch.Generator: torch.Generator.get_state,
    random.Random: random.Random.getstate,
    np.random.RandomState: np.random.RandomState.get_state,
    np.random.Generator: lambda draws: _copy_of(draws.bit_generator.state, set()),
}


def attributes(model: nn.Module) -> dict[str, Any]:
    """What the modules keep besides parameters, buffers and modules; tensors are copied."""
    return {
        f"{path}.{key}" if path else key: _copy_of(value, set())
        for path, module in model.named_modules()
        for key, value in vars(module).items()
        if key not in _TORCHS_OWN
    }


@contextmanager
def attributes_kept(model: nn.Module) -> Iterator[None]:
    """Puts attributes that a pass sets, such as a map of attention, back to what they were."""
    before = [(vars(module), dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for own, was in before:
            for key in own.keys() - was.keys() - _TORCHS_OWN:
                del own[key]
            own.update({key: value for key, value in was.items() if key not in _TORCHS_OWN})


def _copy_of(value: Any, above: set[int]) -> Any:
    """A value to compare later ones with: of what can change, a copy."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, _CODE) or id(value) in above:
        return None
    for kind, copy in _COPIES.items():
        if isinstance(value, kind):
            return copy(value)
    inside = above | {id(value)}
    if isinstance(value, list | tuple | set | frozenset):
        return [_copy_of(each, inside) for each in value]
    held = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return {key: _copy_of(each, inside) for key, each in list(held.items())}


def same(one: Any, other: Any) -> bool:
    """Whether two values that were kept are equal, up to the rounding of floats."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        if one.shape != other.shape or one.dtype != other.dtype:
            return False
        exact = not (one.is_floating_point() or one.is_complex())
        return torch.equal(one, other) if exact else torch.allclose(one, other, equal_nan=True)
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and (one == other or one != one)
