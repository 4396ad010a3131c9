"""What a user gives for a field that names something: its name, an object, a class, a function."""

from collections.abc import Callable
from inspect import isbuiltin, isclass, isfunction, ismethod
from typing import Any

from raydl.config.choices import CHOICES, find, methods
from raydl.config.names import OPTIONAL
from raydl.core.errors import SpecError, brief
from raydl.core.spec import make_default
from raydl.core.task import TaskSpec
from raydl.data.own import BRING
from raydl.data.own import FUNCTIONS as OF_DATA
from raydl.tasks.own import LossFunction

FUNCTIONS = {**OF_DATA, "task": LossFunction}  # by field, what a function becomes


def kind_of(given: Any) -> Any:
    """The class or the function that an object comes from, see `name_of`."""
    if isinstance(given, tuple(FUNCTIONS.values())):
        return given.function  # type: ignore[attr-defined]  # which all of them have
    return given if isroutine(given) else type(given)


def title(given: Any) -> str:
    """What tables and figures call an object."""
    return str(kind_of(given).__name__)


def choice(field: str) -> Callable[[str, Any], Any]:
    """What brings a field to an object of what it names: from its name, or as it is given."""

    def bring(_: str, given: Any) -> Any:
        if isinstance(given, str):
            given = find(field, given)
            given = make_default(field, given) if isclass(given) else given
        if given is None and field in (*OPTIONAL, "runtime"):
            return None
        return as_object(field, given)

    return bring


def as_object(field: str, given: Any) -> Any:
    """What was given for a field as an object with the method that it needs.

    Raises:
        SpecError: if it is none.
    """
    given = BRING[field](given) if field in BRING else given
    needed = methods(field)
    if isinstance(given, tuple(CHOICES[field].values())):
        return given
    if not isclass(given) and any(callable(getattr(given, each, None)) for each in needed):
        if field == "task" and not isinstance(given, TaskSpec):
            raise SpecError(
                f"task is {brief(given)}; its class must derive from raydl.tasks.TaskSpec"
            )
        return given
    if isroutine(given) and field in FUNCTIONS:
        return FUNCTIONS[field](given)
    if isclass(given) and any(hasattr(given, each) for each in needed):
        raise SpecError(
            f"{field} is the class {given.__qualname__}; it must be an instance: "
            f"{given.__qualname__}(...)"
        )
    also = {
        "data": ", a function that gives what data may be, a map-style Dataset of torch's, or "
        "(x, y) themselves",
        "partition": ", or a function (labels, clients, seed, owners) -> Partition",
        "participation": ", or a function (clients, seed) -> cohorts",
        "task": ", or a function (outputs, targets) -> the loss of each sample",
        "augmentation": ", such as a function (inputs, generator) -> inputs, or a transform of "
        "torchvision.transforms.v2",
    }.get(field, "")
    raise SpecError(
        f"{field} is {brief(given)}; it must be one of {', '.join(CHOICES[field])}, by name or as "
        f"an object, or an object with the method {' or '.join(needed)}{also}"
    )


def isroutine(given: Any) -> bool:
    """Whether something is a function, with a name of its own."""
    return isfunction(given) or ismethod(given) or isbuiltin(given)
