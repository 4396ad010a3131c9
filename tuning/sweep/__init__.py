"""Sweeps: many runs over a search space, the best of which is trained again and tested.

``python -m tuning.sweep --config SPACE.yaml`` does one from the command line.
"""

import os
from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

import ray
import yaml
from rich.console import Console

from raydl import Run, options
from raydl.core.errors import SpecError
from raydl.interrupt import Interrupted, Stop, stoppable
from raydl.runtimes.cluster import connected
from raydl.setup import prepare
from raydl.storage import Folder
from tuning.sweep.plan import Plan
from tuning.sweep.report import Outcome, write
from tuning.sweep.space import Settings, Space
from tuning.sweep.trials import Row, Trials, best_of
from tuning.sweep.watching import Table

__all__ = ["Outcome", "Plan", "sweep"]

SPEC = "sweep.yaml"
FREE = {
    "concurrent",
    "address",
    "name",
    "run.storage",
}  # what a sweep may be taken up with, changed


class Stopped(Interrupted):
    """A sweep was asked to stop."""

    def __str__(self) -> str:
        return f"stopped; the sweep is in {self.path}"


def sweep(
    run: Run,
    space: Mapping[str, Mapping[str, Any]],
    plan: Plan | None = None,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Searches a space, trains the best setting again with several seeds, and writes a report.

    The trials are compared in validation and never see the test set. The sweep is in
    ``run.storage/plan.name``: ``sweep.yaml``, ``trials.parquet``, the runs in ``trials/`` and
    ``winner/trials/``, ``report.md`` and its plots.

    Args:
        run: what is not swept. Its name is not used.
        space: distributions by dotted field, see `tuning.sweep.space`.
        plan: how it is searched.
        resume: goes on with the sweep of that name, which must be the same one. Trials that have
            ended are not done again; the others go on from their checkpoints.
        console: is shown the trials.

    Returns:
        The tables.

    Raises:
        SpecError: before any work, if the space, the plan or the run cannot be.
        Interrupted: after SIGINT or SIGTERM.

    Example:
        >>> base = Run(runtime=Sequential(), rounds=20)  # doctest: +SKIP
        >>> space = {"algorithm.lr": {"loguniform": [1e-3, 1.0]}}  # doctest: +SKIP
        >>> sweep(base, space, Plan(trials=8, scheduler="asha")).best  # doctest: +SKIP
    """
    plan, console = plan or Plan(), console or Console()
    folder = Folder(run.storage) / plan.name
    compared = replace(run, name=None, evaluation=replace(run.evaluation, test="never"))
    searched = Space(compared, space)
    points = _points(searched, plan)
    plan.make_scheduler(run)
    runs = [searched.at(settings) for settings in points or [searched.first]]
    for each in runs:
        plan.resources(each)
    spec = {"run": options.to_mapping(run), "space": {**space}, **asdict(plan)}
    _check_same(folder, spec, resume)
    prepare(runs[0])  # downloads the data once, and tells what does not fit
    folder.make()
    folder.write(SPEC, yaml.safe_dump(spec, sort_keys=False).encode())
    with connected(plan.address, os.cpu_count() or 1, plan.gpus), stoppable() as stop:
        for each in runs:
            plan.check_room(each, ray.cluster_resources())
        trials = _search(searched, plan, points, folder, console, stop)
        best = best_of(trials)
        winner: list[Row] = []
        if best is not None:
            tested = replace(run.evaluation, test="end")
            again = Space(
                replace(searched.at(searched.settings(best)), evaluation=tested),
                {"seed": {"grid": [run.seed + number for number in range(plan.seeds)]}},
            )
            unstopped = replace(plan, scheduler="none")
            winner = _search(again, unstopped, again.grid(), folder / "winner", console, stop)
    outcome = Outcome(trials, best, winner, folder.uri)
    write(folder, searched, outcome)
    return outcome


def _points(space: Space, plan: Plan) -> list[Settings] | None:
    """The settings of the trials; None if the searcher suggests them as it learns."""
    if plan.searcher == "optuna":
        space.domains()  # refuses what it cannot suggest
        return None
    return space.grid() if plan.searcher == "grid" else space.random(plan.trials, plan.seed)


def _search(
    space: Space,
    plan: Plan,
    points: list[Settings] | None,
    folder: Folder,
    console: Console,
    stop: Stop,
) -> list[Row]:
    with Table(console, space.fields, plan.trials if points is None else len(points)) as table:
        rows = Trials(folder, space, plan, table).search(points, stop)
    if stop.signal:
        raise Stopped(stop.signal, folder.uri, 0)
    return rows


def _check_same(folder: Folder, spec: Mapping[str, Any], resume: bool) -> None:
    """Raises a SpecError if the folder's sweep is another one, or not to be gone on with."""
    there = folder.has(SPEC)
    if there and not resume:
        raise SpecError(
            f"there is a sweep in {folder.uri!r} already; choose another name, or go on with it: "
            f"python -m tuning.sweep --resume {folder.uri}"
        )
    if resume and not there:
        raise SpecError(f"there is no sweep to resume at {folder.uri!r}: it has no {SPEC}")
    if there:
        was = options.flatten(options.from_yaml(folder.read(SPEC).decode(), SPEC))
        now = options.flatten(spec)
        changed = [
            f"  {key}: {was.get(key)} then, {now.get(key)} now"
            for key in sorted((was.keys() | now.keys()) - FREE)
            if was.get(key) != now.get(key)
        ]
        if changed:
            raise SpecError(
                "a sweep can only be resumed as it began; these differ:\n" + "\n".join(changed)
            )
