"""Which classes a run names, and which settings are whose: of a file, and of the command line."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import yaml

from raydl.config.choices import CHOICES, find, inner, is_list, name_of
from raydl.config.names import choice_of
from raydl.config.run import Run, usual_runtime
from raydl.config.serialize import plain
from raydl.core.errors import SpecError, brief, unknown


class FieldGroup(NamedTuple):
    """A class that is chosen, and the settings that are given for it."""

    cls: Any
    settings: dict[str, Any]


Groups: TypeAlias = dict[
    str, FieldGroup
]  # by the path of the field; of a run itself, the empty one


def select(settings: Mapping[str, Any], named: Mapping[str, Sequence[str]]) -> Groups:
    """The run and each class that it names, directly or inside of another.

    Args:
        settings: of a file, nested or dotted.
        named: what the command line names, by field, see `take_names`.

    Raises:
        SpecError: if there is none of a name, or no such field.
    """
    given, run = _nest(settings), Run()
    groups: Groups = {"": FieldGroup(Run, given)}
    fields = inner("", Run)
    for field in filter(fields.__contains__, CHOICES):  # the algorithm first
        value = getattr(run, field)
        if field == "runtime":
            value = usual_runtime(groups["algorithm"].cls)
        usual = plain(field, value)
        groups |= _resolve_field(Run, field, field, given.pop(field, usual), usual, named)
    for path in named:
        parent, _, name = path.rpartition(".")
        if path in groups or (parent in groups and name in inner(parent, groups[parent].cls)):
            continue
        classes = CHOICES.get(choice_of(parent), {})
        having = [each for each, cls in classes.items() if name in inner(parent, cls)]
        if parent not in groups or not having:
            raise unknown("field", path, groups.keys() - {""})
        outer = name_of(choice_of(parent), groups[parent].cls)
        raise SpecError(f"{outer} has no {name}; {', '.join(having)} have one")
    return groups


def _resolve_field(
    cls: type, name: str, path: str, given: Any, usual: Any, named: Mapping[str, Sequence[str]]
) -> Groups:
    """What a field of a class names, one class or a list of them."""
    if not is_list(cls, name):
        return _resolve_class(path, given, usual, named)
    groups: Groups = {}
    for at, element in enumerate(_elements(path, given, named.get(path))):
        groups |= _resolve_class(f"{path}.{at}", element, None, named)
    return groups


def _elements(path: str, given: Any, named: Sequence[str] | None) -> list[Any]:
    """What is given for each element of a list.

    Args:
        path: of the field.
        given: of a file: ``A,B``, a list, or a mapping of these as its name, and of what more is
            set of the elements, by their numbers.
        named: what the command line names.
    """
    more = dict(given) if isinstance(given, Mapping) else {"name": given}
    elements = _split_list(path, more.pop("name", None))
    if named is not None:
        choice, was = choice_of(path), elements
        elements = [each for word in named for each in _split_list(path, word)]
        for at, (old, new) in enumerate(zip(was, elements, strict=False)):
            if not isinstance(new, Mapping) and find(choice, new) is find(choice, _word(old)):
                elements[at] = old
    for number, settings in more.items():
        if not (number.isdigit() and int(number) < len(elements)):
            raise SpecError(f"{path}.{number} is given, but {path} names {len(elements)} of them")
        elements[int(number)] = _join(elements[int(number)], settings)
    for at, element in enumerate(elements):
        if isinstance(element, Mapping) and "name" not in element:
            names = ", ".join(CHOICES[choice_of(path)])
            raise SpecError(f"{path}.{at} is {brief(element)}; it must have a name: {names}")
    return elements


def _split_list(path: str, given: Any) -> list[Any]:
    """``A,B``, ``[A, B]`` or a list as a list, ``none`` as an empty one."""
    if isinstance(given, str) and given.startswith("["):
        given = yaml.safe_load(given)
    if given in (None, "none", "null"):
        return []
    if not isinstance(given, str | list):
        raise SpecError(f"{path} is {brief(given)}; it must be a list, or names such as A,B")
    return given.split(",") if isinstance(given, str) else [*given]


def _word(given: Any) -> Any:
    return given.get("name") if isinstance(given, Mapping) else given


def _resolve_class(path: str, given: Any, usual: Any, named: Mapping[str, Sequence[str]]) -> Groups:
    """The class that a field names, with its settings, and those that it names in turn."""
    choice = choice_of(path)
    group = dict(given) if isinstance(given, Mapping) else {"name": given or "none"}
    name = group.pop("name", usual and usual["name"])
    if path in named and find(choice, named[path][-1]) is not find(choice, name):
        name, group = named[path][-1], {}
    cls = find(choice, name)
    if cls is None:
        return {}
    if usual and find(choice, usual["name"]) is cls:
        group = {key: each for key, each in usual.items() if key != "name"} | group
    groups: Groups = {path: FieldGroup(cls, group)}
    for own, inside in inner(path, cls).items():
        default = plain(choice_of(inside), getattr(cls, own))
        groups |= _resolve_field(cls, own, inside, group.pop(own, default), default, named)
    return groups


def _nest(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings whose dotted keys have become mappings."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        first, _, rest = str(key).partition(".")
        inside = {rest: value} if rest else value
        inside = _nest(inside) if isinstance(inside, Mapping) else inside
        nested[first] = _join(nested.get(first), inside)
    return nested


def _join(old: Any, new: Any) -> Any:
    """Two settings of a field, of which the later one wins; what is no mapping is its name."""
    if old is None or not (isinstance(old, Mapping) or isinstance(new, Mapping)):
        return new
    old, new = (each if isinstance(each, Mapping) else {"name": each} for each in (old, new))
    return {**old, **{key: _join(old.get(key), new[key]) for key in new}}
