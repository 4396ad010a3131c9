"""Sweeps: many runs over a search space, the best of which is trained again and tested.

``raydl sweep --config SPACE.yaml`` does one from the command line.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from random import Random
from typing import Any

import yaml
from rich.console import Console

from raydl import Run
from raydl.assembly.assemble import assemble
from raydl.config import options
from raydl.core.environment.extras import check_plots
from raydl.core.errors import SpecError, require
from raydl.runtimes.ray_cluster.cluster import connected, may_grow, total_resources
from raydl.runtimes.ray_cluster.problem_store import StoredDataset, store_dataset
from raydl.signals import Interrupted, Stop, stoppable
from raydl.storage import Folder
from tuning.metric import Metric
from tuning.output import TableRow
from tuning.sweep.config import SweepConfig
from tuning.sweep.lineage import Stage
from tuning.sweep.progress import LiveTable
from tuning.sweep.resources import check_room, claims, side_by_side
from tuning.sweep.results.agreement import common_metric
from tuning.sweep.results.report import Outcome, score_on_test, write
from tuning.sweep.results.table import TrialTable, best_of, stages_of
from tuning.sweep.schedulers import check_exchangeable, scheduler
from tuning.sweep.space import Settings, Space
from tuning.sweep.tuner import search

__all__ = ["Outcome", "SweepConfig", "sweep"]

SPEC = "sweep.yaml"
CHANGEABLE_ON_RESUME = {
    "concurrent",
    "address",
    "name",
    "run.storage",
}  # may be others when it is taken up again


class Stopped(Interrupted):
    """A sweep was asked to stop."""

    def __str__(self) -> str:
        return f"stopped; the sweep is in {self.path}"


def sweep(
    run: Run,
    space: Mapping[str, Mapping[str, Any]],
    plan: SweepConfig | None = None,
    *,
    resume: bool = False,
    console: Console | None = None,
) -> Outcome:
    """Searches a space, trains the best setting again with several seeds, and writes a report.

    The trials are compared in validation, by the best metric of their task, and never see the test
    set. The sweep is in
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
    check_plots("a sweep's report")
    plan, console = plan or SweepConfig(), console or Console()
    folder = Folder(run.storage) / plan.name
    searched = Space(_prepare(run, plan), space)
    points = _points(searched, plan)
    scheduler(plan, searched)
    runs = searched.corners if points is None else [searched.at(each) for each in points]
    for each in runs:
        claims(each, plan.gpus)
    spec = {"run": options.to_mapping(run), "space": {**space}, **asdict(plan)}
    _check_same(folder, spec, resume=resume)
    setup = assemble(runs[0])  # downloads the data once, and tells what does not fit
    held_out = len(setup.problem.dataset.validation.targets)
    require(held_out > 0, "validation samples", held_out, "1 or more: trials are compared on them")
    data = setup.problem.dataset if searched.shares("data") else None
    metric = common_metric(runs, data)
    if plan.scheduler == "pbt":
        check_exchangeable(searched, data)
    folder.make()
    folder.write(SPEC, yaml.safe_dump(spec, sort_keys=False).encode())
    with connected(plan.address, os.cpu_count() or 1, plan.gpus), stoppable() as stop:
        if not may_grow():
            for each in runs:
                check_room(each, plan.gpus, total_resources())
        dataset = None if data is None else store_dataset(data)
        trials = _search(folder, searched, metric, plan, points, console, stop, dataset)
        best, winner = best_of(trials, metric), []
        if best is not None and plan.seeds:
            first, *later = stages_of(best)
            again = Space(score_on_test(searched.at(first.settings)), _seeds(run.seed, plan.seeds))
            place, unstopped = folder / "winner", replace(plan, scheduler="none")
            points = again.grid()
            winner = _search(place, again, metric, unstopped, points, console, stop, dataset, later)
    outcome = Outcome(trials, best, winner, folder.uri)
    write(folder, searched, metric, outcome)
    return outcome


def _prepare(run: Run, plan: SweepConfig) -> Run:
    """The run as it is swept: scored in validation, and written down where it may be ended."""
    evaluation = replace(run.evaluation, test="never")
    checkpoint = run.checkpoint
    if plan.scheduler != "none":
        every = 1 if run.evaluation.every is None and run.epochs is None else run.evaluation.every
        checkpoint = replace(checkpoint, every=every)
    return replace(run, name=None, evaluation=evaluation, checkpoint=checkpoint)


def _points(space: Space, plan: SweepConfig) -> list[Settings] | None:
    """The settings of the trials; None if the searcher suggests them as it learns."""
    if plan.searcher == "optuna":
        space.domains()  # refuses what it cannot suggest
        return None
    if plan.searcher == "random":
        return space.random(plan.trials, plan.seed)
    points = space.grid()
    if plan.scheduler in ("asha", "median"):  # which compare a trial with those before it
        Random(plan.seed).shuffle(points)
    return points


def _seeds(first: int, count: int) -> dict[str, dict[str, list[int]]]:
    return {"seed": {"grid": list(range(first, first + count))}}


def _search(
    folder: Folder,
    space: Space,
    metric: Metric,
    plan: SweepConfig,
    points: list[Settings] | None,
    console: Console,
    stop: Stop,
    dataset: StoredDataset | None,
    later: Sequence[Stage] = (),
) -> list[TableRow]:
    """The rows of the trials, when they are done."""
    at_once = side_by_side(space.corners, plan, total_resources())
    total = plan.trials if points is None else len(points)
    with LiveTable(console, space.fields, total, metric) as live:
        table = TrialTable(folder, space, metric, plan.scheduler, live)
        search(table, plan, points, stop, concurrent=at_once, dataset=dataset, later=later)
    if stop.signal:
        raise Stopped(stop.signal, (Folder(space.run.storage) / plan.name).uri, 0)
    return table.rows


def _check_same(folder: Folder, spec: Mapping[str, Any], *, resume: bool) -> None:
    """Raises a SpecError if the folder's sweep is another one, or not to be gone on with."""
    there = folder.has(SPEC)
    if there and not resume:
        raise SpecError(
            f"there is a sweep in {folder.uri!r} already; choose another name, or go on with it: "
            f"raydl sweep --resume {folder.uri}"
        )
    if resume and not there:
        raise SpecError(f"there is no sweep to resume at {folder.uri!r}: it has no {SPEC}")
    if there:
        texts = folder.read(SPEC).decode(), yaml.safe_dump(spec)
        flat = (options.flatten(options.from_yaml(text, SPEC)) for text in texts)
        was, now = (
            {key: each[key] for key in each if key not in CHANGEABLE_ON_RESUME} for each in flat
        )
        if changed := options.differences(was, now):
            raise SpecError(
                "a sweep can only be resumed as it began; these differ:\n" + "\n".join(changed)
            )
