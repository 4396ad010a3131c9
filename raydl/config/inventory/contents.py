"""What the inventory holds, as it is read from its file and written to it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("options.json")


@dataclass(frozen=True)
class Option:
    """An option of a class.

    Attributes:
        name: dotted, within the class.
        kind: its type in words.
        help: its meaning.
        default: as JSON holds it.
        required: whether there is no default.
        values: the words that it may be, if it is one of a few.
    """

    name: str
    kind: str
    help: str
    default: Any = None
    required: bool = False
    values: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Component:
    """A class that a field can name, a run, or what describes a command.

    Attributes:
        summary: its meaning, in a line.
        options: its own.
        defaults: by field, what it names, one after another, where the class is chosen and the
            field is not given: the ``name``, and the options that differ from what they are with
            that name alone; null if it names none.
    """

    summary: str
    options: list[Option]
    defaults: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A field that names one of several classes.

    Attributes:
        help: its meaning.
        classes: ours, by the names that choose them.
        several: whether it names a list of them.
    """

    help: str
    classes: dict[str, Component]
    several: bool = False


@dataclass(frozen=True)
class Inventory:
    """All options.

    Attributes:
        run: those of every run, whatever it names.
        choices: the fields that name a class.
        commands: what some of the commands take besides.
    """

    run: Component
    choices: dict[str, Choice]
    commands: dict[str, list[Component]]


@cache
def inventory() -> Inventory:
    """The inventory as the file has it."""
    held = json.loads(FILE.read_text())
    choices = {
        name: Choice(
            **each | {"classes": {key: _component(c) for key, c in each["classes"].items()}}
        )
        for name, each in held["choices"].items()
    }
    commands = {name: [*map(_component, each)] for name, each in held["commands"].items()}
    return Inventory(_component(held["run"]), choices, commands)


def _component(held: Mapping[str, Any]) -> Component:
    options = [Option(**each) for each in held["options"]]
    return Component(held["summary"], options, held.get("defaults", {}))


def text(all_options: Inventory) -> str:
    """What the file holds of an inventory: what is empty is left out."""

    def full(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        left_out = {"required": False, "values": [], "defaults": {}, "several": False}
        return {key: each for key, each in pairs if key not in left_out or each != left_out[key]}

    return json.dumps(asdict(all_options, dict_factory=full), indent=1, ensure_ascii=False) + "\n"
