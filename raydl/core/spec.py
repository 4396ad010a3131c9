"""Specs: frozen dataclasses whose fields have the kinds that they are annotated with.

What a user gives is brought to that kind where nothing is lost by it, and refused in words where
it cannot be, before any work starts.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import wraps
from inspect import isclass
from typing import Annotated, Any, ClassVar, TypeAlias, get_args, get_origin, get_type_hints

from raydl.core.errors import SpecError, brief, unknown
from raydl.core.fields.kinds import UnfitError, in_words, kind_of

Bring: TypeAlias = Callable[[str, Any], Any]  # (field, what was given) -> the value


@dataclass(frozen=True, eq=False)
class Spec:
    """A dataclass whose fields are brought to their annotated kinds before its own checks.

    NumPy's scalars and tensors without dimensions become bool, int or float; an int is taken for a
    float, and 5.0 for an int; paths become str, and lists tuples. A bool is no number. A field
    annotated with a function, ``Annotated[Kind, bring]``, becomes ``bring(field, value)``.

    A subclass says what its fields are called on the command line, ``class FedAvg(Spec,
    field="algorithm")``, and checks its values in ``__post_init__``, where they have their kinds.

    Raises:
        SpecError: naming the field, what was given and what is allowed.
    """

    _prefix: ClassVar[str] = ""
    _kinds: ClassVar[tuple[tuple[str, Bring], ...]]

    def __init_subclass__(cls, field: str | None = None, **options: Any) -> None:
        super().__init_subclass__(**options)
        if field is not None:
            cls._prefix = f"{field}."
        if "__post_init__" in vars(cls):
            cls.__post_init__ = _after_kinds(cls.__post_init__)  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        _bring_all(self)


class OneOf:
    """A field that holds a spec in turn: one of ours, also by its name, or one with its method.

    Args:
        method: that it must have.
        classes: ours, by the names of the command line; a name stands for their defaults.
    """

    def __init__(self, method: str, *classes: type) -> None:
        self._method, self._classes = method, {each.__name__: each for each in classes}

    def __call__(self, field: str, given: Any) -> Any:
        """The spec that was given, or whose name was.

        Raises:
            SpecError: if it is none.
        """
        if isinstance(given, str):
            named = {name.lower(): cls for name, cls in self._classes.items()}
            if given.lower() not in named:
                raise unknown(field, given, self._classes)
            return make_default(field, named[given.lower()])
        if isclass(given) or not hasattr(given, self._method):
            raise SpecError(
                f"{field} is {brief(given)}; it must be one of {', '.join(self._classes)}, as in "
                f"{next(iter(self._classes))}(), or an object with the method {self._method}"
            )
        return given


class EachOf:
    """A field that holds a list, ``Annotated[tuple[Optimizer, ...], EachOf(OneOf(...))]``.

    Args:
        bring: what brings each element to its kind, such as a `OneOf`; ``A,B`` stands for two.
    """

    def __init__(self, bring: Bring) -> None:
        self._bring = bring

    def __call__(self, field: str, given: Any) -> tuple[Any, ...]:
        """The elements that were given.

        Raises:
            SpecError: if one of them is not of the kind, or they are no list.
        """
        given = given.split(",") if isinstance(given, str) else given
        if not isinstance(given, list | tuple):
            raise SpecError(f"{field} is {brief(given)}; it must be a list, or names such as A,B")
        return tuple(self._bring(f"{field}.{at}", each) for at, each in enumerate(given))


def make_default(field: str, cls: Callable[[], Any]) -> Any:
    """What a name chose, with its defaults.

    Raises:
        SpecError: if it cannot be made without arguments.
    """
    try:
        return cls()
    except TypeError as error:
        name = getattr(cls, "__name__", cls)
        raise SpecError(
            f"{field} is {name!r}, which has no defaults for all of its options: {error}; give "
            f"{name}(...) with them"
        ) from error


def _after_kinds(checks: Callable[..., None]) -> Callable[..., None]:
    @wraps(checks)
    def post_init(self: Spec, *given: Any) -> None:
        if type(self).__post_init__ is post_init:  # else a subclass's has done it
            _bring_all(self)
        checks(self, *given)

    return post_init


def _bring_all(spec: Spec) -> None:
    cls = type(spec)
    if "_kinds" not in vars(cls):  # found out once
        cls._kinds = tuple(_kinds(cls))
    for name, bring in cls._kinds:
        value = getattr(spec, name)
        brought = bring(cls._prefix + name, value)
        if brought is not value:
            object.__setattr__(spec, name, brought)


def _kinds(cls: type[Spec]) -> Iterator[tuple[str, Bring]]:
    """The fields of a class, each with what brings a value to its kind."""
    try:
        hints = get_type_hints(cls, include_extras=True)
    except (NameError, AttributeError):  # of names that only a type checker knows
        return
    for each in fields(cls):
        if not each.init:
            continue
        hint = hints.get(each.name, Any)
        if get_origin(hint) is Annotated:
            yield each.name, get_args(hint)[1]
        elif kind_of(hint) is not None:
            yield each.name, _checker(hint)


def _checker(hint: Any) -> Bring:
    kind = kind_of(hint)
    assert kind is not None

    def bring(field: str, given: Any) -> Any:
        try:
            return kind(given)
        except UnfitError:
            raise SpecError(f"{field} is {brief(given)}; it must be {in_words(hint)}") from None

    return bring
