"""Search spaces: which fields of a run vary, and over what.

A space maps dotted fields of a `raydl.Run`, named as on the command line, to one of Ray Tune's
distributions with its arguments:

    algorithm.lr: {loguniform: [1e-3, 1.0]}
    algorithm.steps: {choice: [4, 16, 64]}
    algorithm.workers: {grid: [2, 4, 8]}

`uniform` and `loguniform` draw from [low, high), `randint` whole numbers from it, `choice` one of
the listed values; of a `grid` every value is tried.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from math import isfinite
from typing import Any, TypeAlias

import numpy as np
from ray import tune

from raydl import Run
from raydl.config import options
from raydl.core.errors import SpecError, require, unknown

Settings: TypeAlias = dict[str, Any]  # values of the swept fields, by field

LISTS = ("choice", "grid")
RANGES = ("uniform", "loguniform", "randint")


class Space:
    """A search space over the fields of a run, checked.

    Args:
        run: whose fields they are; what is not swept is as it says.
        fields: the distributions by field, each as ``{kind: arguments}``.

    Attributes:
        fields: those that are swept.
        numeric: of them those whose values are numbers.
        ranges: of them those that are drawn from a range.
        corners: runs that show every listed value and every end of a range.

    Raises:
        SpecError: for an unknown field or kind, with its nearest match, for a list without values,
            a range that is empty or reversed, and for a listed value or the end of a range that the
            run cannot have.
    """

    def __init__(self, run: Run, fields: Mapping[str, Mapping[str, Any]]) -> None:
        require(bool(fields), "space", dict(fields), "a mapping of fields to distributions")
        self.run = run
        parted = {field: _split(field, given) for field, given in fields.items()}
        self._grids = {field: values for field, (kind, values) in parted.items() if kind == "grid"}
        self._drawn = {field: given for field, given in parted.items() if field not in self._grids}
        self.fields = list(parted)
        self.numeric = [  # these can be drawn along an axis
            field
            for field, (_, values) in parted.items()
            if all(isinstance(each, int | float) and not isinstance(each, bool) for each in values)
        ]
        self.ranges = [field for field, (kind, _) in parted.items() if kind in RANGES]
        ends = {field: _ends(kind, values) for field, (kind, values) in parted.items()}
        self._ends = ends
        first = {field: values[0] for field, values in ends.items()}
        self.corners = [
            self.at(first | {field: value}) for field, values in ends.items() for value in values
        ]

    def at(self, settings: Mapping[str, Any]) -> Run:
        """The run at one point of the space.

        Raises:
            SpecError: if there is no such run.
        """
        return options.change(self.run, settings)

    def settings(self, row: Mapping[str, Any]) -> Settings:
        """The swept fields of a trial's row."""
        return {field: row[field] for field in self.fields}

    def grid(self) -> list[Settings]:
        """Every combination of the grids' values.

        Raises:
            SpecError: if some field is drawn.
        """
        if self._drawn:
            raise SpecError(
                f"searcher is grid, but {', '.join(self._drawn)} would be drawn; list their values "
                "as {grid: [...]}, or choose the searcher random or optuna"
            )
        return list(self._cross())

    def random(self, draws: int, seed: int) -> list[Settings]:
        """Draws of the fields that are drawn, for every combination of the grids' values."""
        generator = np.random.RandomState(seed)
        domains = self._domains()
        return [
            settings | {field: domains[field].sample(random_state=generator) for field in domains}
            for _ in range(draws)
            for settings in self._cross()
        ]

    def domains(self) -> dict[str, Any]:
        """The fields as Tune's distributions, for a searcher of its own.

        Raises:
            SpecError: if there is a grid, which such a searcher does not know.
        """
        if self._grids:
            raise SpecError(
                f"searcher is optuna, but {', '.join(self._grids)} are to be tried on a grid; "
                "write {choice: [...]}, or choose the searcher grid or random"
            )
        return self._domains()

    def mutations(self) -> dict[str, Any]:
        """The fields as population based training takes them: lists, and Tune's distributions."""
        listed = {field: ends for field, ends in self._ends.items() if field not in self.ranges}
        return self._domains() | listed

    def clip(self, settings: Mapping[str, Any]) -> Settings:
        """A point whose numbers are within their ranges."""
        clipped = dict(settings)
        for field in self.ranges:
            low, high = self._ends[field]
            clipped[field] = min(max(settings[field], low), high)
        return clipped

    def shares(self, group: str) -> bool:
        """Whether all the points have the same value of a field of the run, such as ``data``."""
        return all(field.partition(".")[0] != group for field in self.fields)

    def _domains(self) -> dict[str, Any]:
        return {
            field: tune.choice(values) if kind == "choice" else getattr(tune, kind)(*values)
            for field, (kind, values) in self._drawn.items()
        }

    def _cross(self) -> Iterator[Settings]:
        for values in product(*self._grids.values()):
            yield dict(zip(self._grids, values, strict=True))


def _split(field: str, given: Any) -> tuple[str, list[Any]]:
    """A distribution's kind and its arguments."""
    example = "one distribution, such as {loguniform: [1e-3, 1.0]} or {choice: [1, 2]}"
    single = isinstance(given, Mapping) and len(given) == 1
    require(single, f"space: {field}", given, example)
    ((kind, values),) = given.items()
    if kind not in LISTS + RANGES:
        raise unknown(f"distribution of {field}", str(kind), LISTS + RANGES)
    name = f"space: {kind} of {field}"
    listed = isinstance(values, Sequence) and not isinstance(values, str)
    values = [_number(each) for each in values] if listed else values
    if kind in LISTS:
        require(listed and len(values) > 0, name, values, "a list of values")
        return kind, values
    numbers = int if kind == "randint" else (int, float)
    ordered = (
        listed
        and len(values) == 2
        and all(isinstance(each, numbers) and not isinstance(each, bool) for each in values)
        and values[0] < values[1]
        and all(map(isfinite, values))
    )
    spoken = "two whole numbers" if kind == "randint" else "two numbers"
    require(ordered, name, values, f"{spoken}, of which the second is the larger")
    require(kind != "loguniform" or values[0] > 0, name, values, "above 0")
    return kind, values


def _number(value: Any) -> Any:
    """YAML reads 1e-3, which has no point, as a word."""
    spoken = isinstance(value, str) and re.fullmatch(r"[+-]?\d+e[+-]?\d+", value, re.IGNORECASE)
    return float(value) if spoken else value


def _ends(kind: str, values: list[Any]) -> list[Any]:
    """The values that show whether all are possible."""
    return [values[0], values[1] - 1] if kind == "randint" else values
