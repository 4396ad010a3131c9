"""Kinds: what a type hint asks of a value, and how what was given is brought to it."""

import os
from collections.abc import Callable, Sequence
from inspect import isclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from raydl.core.environment.compat import is_protocol

Kind: TypeAlias = Callable[[Any], Any]  # what was given -> the value; raises UnfitError


class UnfitError(Exception):
    """A value is not of a kind, and cannot be brought to it."""


def plain(value: Any) -> Any:
    """A scalar of NumPy's, or a tensor or array without dimensions, as Python's own."""
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return value.item()
    return value


def kind_of(hint: Any) -> Kind | None:
    """What brings a value to the kind that a type hint names; None if it takes anything."""
    origin, inner = get_origin(hint), get_args(hint)
    if hint in _SCALARS:
        return _SCALARS[hint]
    if origin in (Union, UnionType):
        return _union(inner)
    if origin is Literal:
        return _literal(inner)
    if origin is tuple or hint is tuple:
        return _tuple(inner or (Any, ...))
    cls = origin or hint
    if cls is Callable or cls is Any or not isclass(cls) or is_protocol(cls):
        return None if cls is not Callable else _callable
    return _instance(cls)


def in_words(hint: Any) -> str:
    """A type hint as a person would write it: ``float``, ``int or null``, ``'drop' or 'fail'``."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return in_words(inner[0])
    if origin in (Union, UnionType):
        return " or ".join(map(in_words, inner))
    if origin is Literal:
        return " or ".join(map(repr, inner))
    if hint in (None, NoneType):
        return "null"
    if origin in (tuple, Sequence):
        several = inner[1:] in ((), (...,))
        return f"a list of {in_words(inner[0])}" if several else f"a list of {len(inner)} numbers"
    if (origin or hint) is Callable:
        return "a class or a function"
    return str(getattr(origin or hint, "__name__", hint))


def _bool(given: Any) -> bool:
    value = plain(given)
    if isinstance(value, bool):
        return value
    raise UnfitError


def _int(given: Any) -> int:
    value = plain(given)
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise UnfitError


def _float(given: Any) -> float:
    value = plain(given)
    if isinstance(value, int | float) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise UnfitError from None
    raise UnfitError


def _str(given: Any) -> str:
    value = plain(given)
    if isinstance(value, str):
        return str.__str__(value)  # of an enumeration's member, what it stands for
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    raise UnfitError


def _none(given: Any) -> None:
    if given is not None:
        raise UnfitError


def _callable(given: Any) -> Any:
    if not callable(given):
        raise UnfitError
    return given


_SCALARS: dict[Any, Kind] = {
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    NoneType: _none,
}


def _union(hints: tuple[Any, ...]) -> Kind | None:
    """The first kind that fits; of a value that is of one as it stands, that one."""
    kinds = [kind for each in hints if (kind := kind_of(each)) is not None]
    if len(kinds) < len(hints):
        return None
    own = {each: kind for each, kind in _SCALARS.items() if each in hints}

    def union(given: Any) -> Any:
        value = plain(given)
        if type(value) in own:
            return value
        for kind in kinds:
            try:
                return kind(value)
            except UnfitError:
                continue
        raise UnfitError

    return union


def _literal(allowed: tuple[Any, ...]) -> Kind:
    def literal(given: Any) -> Any:
        value = plain(given)
        for each in allowed:
            if type(each) is type(value) and each == value:
                return each
            if isinstance(each, str) and isinstance(value, str) and str.__str__(value) == each:
                return each
        raise UnfitError

    return literal


def _tuple(inner: tuple[Any, ...]) -> Kind:
    several = inner[1:] == (...,)

    def as_tuple(given: Any) -> tuple[Any, ...]:
        values = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(values, list | tuple):
            raise UnfitError
        hints = inner[:1] * len(values) if several else inner
        if len(hints) != len(values):
            raise UnfitError
        kinds = map(kind_of, hints)
        return tuple(
            value if kind is None else kind(value)
            for kind, value in zip(kinds, values, strict=True)
        )

    return as_tuple


def _instance(cls: type) -> Kind:
    def instance(given: Any) -> Any:
        if not isinstance(given, cls):
            raise UnfitError
        return given

    return instance
