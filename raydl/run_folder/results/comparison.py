"""Runs read from their folders, to be laid side by side: their figures, what sets them apart."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from raydl.config import options
from raydl.config.dials import heading
from raydl.core.errors import SpecError
from raydl.run_folder.record import read_rows, table_of
from raydl.run_folder.results.wording import Measure
from raydl.run_folder.resumption import CHANGEABLE_ON_RESUME, read_settings
from raydl.storage import Folder

_USUAL = {"clients": 100, "rounds": 30, "evaluation.every": 1}  # of runs that left them open
_APART = {"seed"}  # what runs may differ in that are of one kind


@dataclass(frozen=True)
class StoredRun:
    """A run as its folder has it.

    Args:
        name: what it is called.
        folder: its folder.
        settings: of its ``run.yaml``, dotted.
        summary: of its end; None if it is not finished.
    """

    name: str
    folder: Folder
    settings: dict[str, Any]
    summary: dict[str, Any] | None

    @classmethod
    def read(cls, name: str, folder: Folder) -> "StoredRun":
        """The run of a folder."""
        done = folder.has("summary.json")
        summary = json.loads(folder.read("summary.json")) if done else None
        return cls(name, folder, options.flatten(read_settings(folder)), summary)

    @property
    def heading(self) -> str:
        """What it is, in a line; empty if that cannot be told from ``run.yaml``."""
        try:
            return heading(options.from_mapping(self.settings))
        except SpecError:  # it has parts of a script's own
            return ""

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """A row for each round that is written down."""
        return read_rows(self.folder)

    @property
    def table(self) -> pd.DataFrame:
        """The same as a table."""
        return table_of(self.rows)

    @cached_property
    def measure(self) -> Measure:
        """By what it is judged."""
        if self.summary is not None:
            return Measure.from_summary(self.summary)
        own = {key: each for key, each in self.settings.items() if key.startswith("task.")}
        try:
            spec = options.from_mapping(own).task if own else None
        except SpecError:  # a task of a script's own
            spec = None
        return Measure() if spec is None else Measure.of(spec)

    @cached_property
    def figures(self) -> dict[str, Any]:
        """The summary; of a run that is not finished what there is of it."""
        if self.summary is not None:
            return self.summary
        if not self.rows:
            return {"rounds": 0}
        last, column = self.rows[-1], f"val_{self.measure.best}"
        figures = {"rounds": last["round"]} | {
            name: each for name, each in last.items() if name not in ("round", "clients")
        }
        best: float | None = None
        for row in self.rows:
            value = row.get(column)
            if value is not None and self.measure.better(value, best):
                best = value
                figures |= {"best_round": row["round"], f"best_{column}": value}
        return figures

    @property
    def planned(self) -> str:
        """How long it was to be."""
        if (epochs := self.settings.get("epochs")) is not None:
            return f"{epochs:g} epochs"
        return str(self.settings.get("rounds") or _USUAL["rounds"])


def runs_of(storage: Folder) -> list[StoredRun]:
    """The runs of a storage, by name."""
    folders = ((name, storage / name) for name in storage.names())
    return [StoredRun.read(name, folder) for name, folder in folders if folder.has("run.yaml")]


def differing(runs: Sequence[StoredRun]) -> list[str]:
    """The settings in which runs differ, apart from where they are stored and how they end."""
    settings = [_comparable(each.settings) for each in runs]
    if not all(any(key.startswith("task.") for key in each) for each in settings):
        settings = [_without_task(each) for each in settings]  # older runs do not say theirs
    keys = dict.fromkeys(key for each in settings for key in each)
    return [key for key in keys if len({str(each.get(key)) for each in settings}) > 1]


def by_kind(runs: Sequence[StoredRun]) -> list[list[StoredRun]]:
    """The runs in groups: those of one differ in their seeds alone."""
    apart = [key for key in differing(runs) if key not in _APART]
    groups: dict[tuple[str, ...], list[StoredRun]] = {}
    for run in runs:
        known = _comparable(run.settings)
        groups.setdefault(tuple(str(known.get(key)) for key in apart), []).append(run)
    return [*groups.values()]


def labels(groups: Sequence[Sequence[StoredRun]]) -> list[str]:
    """What groups are called in a legend: what sets them apart, or a run's name."""
    first = [group[0] for group in groups]
    apart = [key for key in differing(first) if key not in _APART]
    if not apart or len(apart) > 3:
        return [each.name for each in first]
    return [
        ", ".join(f"{_short(key)} {_comparable(each.settings).get(key)}" for key in apart)
        for each in first
    ]


def _comparable(settings: Mapping[str, Any]) -> dict[str, Any]:
    left_out = CHANGEABLE_ON_RESUME - {"rounds", "epochs"}
    known = {key: each for key, each in settings.items() if key not in left_out}
    usual = dict(_USUAL)
    if known.get("epochs") is not None:
        usual = {"clients": _USUAL["clients"]}
    if known.get("algorithm.workers") is not None:
        usual.pop("clients")
    return known | {key: each for key, each in usual.items() if known.get(key) is None}


def _without_task(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {key: each for key, each in settings.items() if key.partition(".")[0] != "task"}


def _short(key: str) -> str:
    """An option without the field that has it: ``lr`` of ``algorithm.lr``."""
    field, _, option = key.rpartition(".")
    return field.rpartition(".")[2] if option == "name" else option
