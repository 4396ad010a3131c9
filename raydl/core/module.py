"""A module and what training changes of it: how a model meets trees of tensors.

Training changes the parameters that require a gradient, and the buffers. Those travel, as a tree by
name; frozen parameters stay in the module, which is the same in every process. Buffers travel
as numbers that can be averaged: integers and booleans as floats that hold them exactly, float32 for
up to 16 bits and float64 for more. On their way into a module they are rounded to the nearest.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cached_property
from operator import itemgetter
from typing import NamedTuple

import torch
from torch import Tensor, nn

from raydl.core.environment import compat
from raydl.core.tree import Params


class ModuleError(RuntimeError):
    """A module does in a training pass what it did not do in those that the set-up made."""


class _Slot(NamedTuple):
    """Where a module keeps a buffer, and the tensor that is there between passes."""

    owner: dict[str, Tensor | None]
    key: str
    tensor: Tensor
    data: Tensor


def frozen_parameters(model: nn.Module) -> Params:
    """The parameters that require no gradient, themselves."""
    named = model.named_parameters()
    return {name: each.detach() for name, each in named if not each.requires_grad}


class Complete(NamedTuple):
    """A module's tensors, on the CPU, each in memory of its own and of the module's type.

    Attributes:
        state: its ``state_dict``, for ``load_state_dict(strict=True)``.
        transient: its buffers that are not persistent, by name.
    """

    state: Params
    transient: Params


def complete(model: nn.Module, params: Params) -> Complete:
    """All tensors of a module, frozen ones and tied names included, with these parameters.

    Args:
        model: gives the names, the types, and what is frozen.
        params: as `raydl.core.grad.parameters` has them.
    """
    bound = Bound(model)
    homes = {name: each.device for name, each in [*bound.trained.items(), *model.named_buffers()]}
    with bound.holding({name: params[name].to(device) for name, device in homes.items()}):
        state = {k: each for k, each in model.state_dict().items() if isinstance(each, Tensor)}
        others = {name: each for name, each in model.named_buffers() if name not in state}
        return Complete(_copy(state), _copy(others))


def restore(model: nn.Module, given: Complete) -> None:
    """Gives a module all its tensors.

    Raises:
        RuntimeError: if they are not those of such a module.
    """
    model.load_state_dict(given.state)
    buffers = dict(model.named_buffers())
    with torch.no_grad():
        for name, value in given.transient.items():
            buffers[name].copy_(value)


def has_hooks(model: nn.Module) -> bool:
    """Whether parameters have hooks of their own, which are lost where a module is pickled."""
    return any(map(compat.has_hooks, model.parameters()))


def _copy(tensors: Params) -> Params:
    return {
        name: each.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, each in tensors.items()
    }


def encode_buffer(buffer: Tensor) -> Tensor:
    """A buffer as it travels: floats of 16 bits or more as they are, all else as a float."""
    if buffer.is_complex() or (buffer.is_floating_point() and buffer.itemsize > 1):
        return buffer
    return buffer.to(torch.float32 if buffer.itemsize <= 2 else torch.float64)


def _decode_buffer(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A new tensor of a buffer's own type: the nearest number that it has."""
    if value.dtype == dtype:
        return value.clone()
    if dtype == torch.bool:
        return value >= 0.5
    return value.to(dtype) if dtype.is_floating_point else value.round().to(dtype)


class Bound:
    """A module that is given parameters and buffers for as long as a pass takes.

    It is the module itself that makes the pass, with its own ``nn.Parameter`` objects: hooks, tied
    weights, graphs that a backward pass computes anew, all are as in a loop that owns the module.
    Afterwards it is as it was.

    Args:
        model: the module.
        rewritten: parameters that its passes write to by themselves, as an embedding with
            ``max_norm`` does; they are copied before.
    """

    def __init__(self, model: nn.Module, rewritten: Collection[str] = ()) -> None:
        self._rewritten = rewritten
        named = sorted(model.named_parameters(), key=itemgetter(0))
        self.trained = {name: each for name, each in named if each.requires_grad}
        self._data = [(name, each, each.data) for name, each in self.trained.items()]
        owners = {name: compat.own_buffers(each) for name, each in model.named_modules()}
        buffers = sorted(model.named_buffers(), key=itemgetter(0))
        self._slots = {name: _slot(owners, name, each) for name, each in buffers}
        self._model = model

    @contextmanager
    def holding(self, params: Params) -> Iterator[None]:
        """Has the module hold these values, without a copy of the parameters, and no gradients."""
        for name, parameter, _ in self._data:
            value = params[name].detach()
            if value.dtype is not parameter.dtype:
                value = value.to(parameter.dtype)
            elif name in self._rewritten:
                value = value.clone()
            parameter.data = value
            parameter.grad = None
        for name, slot in self._slots.items():
            slot.tensor.data = _decode_buffer(params[name].detach(), slot.data.dtype)
        versions = [compat.version(parameter) for _, parameter, _ in self._data]
        try:
            yield
            self._check(versions)
        finally:
            for _, parameter, data in self._data:
                parameter.data = data
                parameter.grad = None
            for slot in self._slots.values():
                slot.owner[slot.key] = slot.tensor
                slot.tensor.data = slot.data

    def grads(self) -> Params:
        """The gradients of the parameters that have one, dense, while the values are held."""
        return {
            name: parameter.grad.to_dense() if parameter.grad.is_sparse else parameter.grad
            for name, parameter, _ in self._data
            if parameter.grad is not None
        }

    def left(self) -> Params:
        """What a pass left of the buffers, and of the parameters that it writes to by itself."""
        values = {name: _left(name, slot) for name, slot in self._slots.items()}
        return values | {name: self.trained[name].data for name in self._rewritten}

    @contextmanager
    def swapped(self, params: Params) -> Iterator[Callable[[], Params]]:
        """Has the module hold these very tensors in the places of its own: for ``torch.func``.

        Args:
            params: new tensors, of the buffers too, as carried; parameters that are left out stay.

        Yields:
            A call that gives what a pass left of the buffers, as carried.
        """
        taken = []
        for name, places in self._places.items():
            for owner, key in places if name in params else ():
                taken.append((owner, key, owner[key]))
                owner[key] = params[name]
        for name, slot in self._slots.items():
            slot.owner[slot.key] = _decode_buffer(params[name], slot.data.dtype)
        try:
            yield lambda: {name: _left(name, slot) for name, slot in self._slots.items()}
        finally:
            for owner, key, own in taken:
                owner[key] = own
            for slot in self._slots.values():
                slot.owner[slot.key] = slot.tensor

    @cached_property
    def _places(self) -> dict[str, list[tuple[dict[str, Tensor | None], str]]]:
        """Where the module keeps each parameter: in several places, if weights are tied."""
        names = {id(each): name for name, each in self.trained.items()}
        places: dict[str, list[tuple[dict[str, Tensor | None], str]]] = {
            name: [] for name in self.trained
        }
        for module in self._model.modules():
            owner = compat.own_parameters(module)
            for key, parameter in owner.items():
                if id(parameter) in names:
                    places[names[id(parameter)]].append((owner, key))
        return places

    def _check(self, versions: list[int]) -> None:
        """Raises a ModuleError if a pass wrote to a parameter that others may hold."""
        for (name, parameter, _), version in zip(self._data, versions, strict=True):
            if compat.version(parameter) != version and name not in self._rewritten:
                raise ModuleError(
                    f"the model writes to its parameter {name} in a training pass, and did not in "
                    "those that the set-up made; write to a buffer, or in every pass"
                )


def _slot(owners: dict[str, dict[str, Tensor | None]], name: str, buffer: Tensor) -> _Slot:
    path, _, key = name.rpartition(".")
    return _Slot(owners[path], key, buffer, buffer.data)


def _left(name: str, slot: _Slot) -> Tensor:
    buffer = slot.owner.get(slot.key)
    if buffer is None or buffer.shape != slot.data.shape:
        now = "nothing" if buffer is None else f"of shape {tuple(buffer.shape)}"
        raise ModuleError(
            f"the model's buffer {name} was of shape {tuple(slot.data.shape)}, and is {now} after "
            "a training pass; what a model carries from pass to pass must keep its shape"
        )
    return encode_buffer(buffer.detach())


def submodule(model: nn.Module, failing: Callable[[], object]) -> str:
    """Where in the model a call fails, as `` (in NAME, a CLASS)``; empty if that is not known.

    Args:
        model: of which modules are named.
        failing: a call that failed before, and is made again.
    """
    names = {each: name for name, each in model.named_modules()}
    inside: list[nn.Module] = []

    def leave(*_: object) -> None:
        inside.pop()

    module = nn.modules.module
    hooks = (
        module.register_module_forward_pre_hook(lambda each, inputs: inside.append(each)),
        module.register_module_forward_hook(leave),
    )
    try:
        failing()
    except Exception:  # noqa: BLE001  # as it was when the call failed before
        innermost = next((each for each in reversed(inside) if names.get(each)), None)
        if innermost is not None:
            return f" (in {names[innermost]}, a {type(innermost).__name__})"
    finally:
        for hook in hooks:
            hook.remove()
    return ""
