"""One trial: a run that tells Ray Tune of its scores, in the process that Tune gives it.

The processes of the trials are taken over by the ones that follow, and all read the samples where
they lie in Ray's object store.
"""

import json
from contextlib import suppress
from dataclasses import replace
from tempfile import TemporaryDirectory
from time import monotonic
from typing import NamedTuple

import ray
from ray import tune

import raydl
from raydl import Callback, Run
from raydl.assembly.assemble import count_clients, usual_model
from raydl.data import Dataset
from raydl.round import NonFiniteError
from raydl.run_folder import checkpoint
from raydl.run_folder.record import Row, read_rows
from raydl.runtimes.ray_cluster.problem_store import StoredDataset, with_samples
from raydl.storage import Folder
from tuning.metric import Metric
from tuning.sweep import lineage
from tuning.sweep.lineage import Stage
from tuning.sweep.space import Settings, Space

SCORE = "score"  # what schedulers and searchers go by: the larger the better
TOTALS = ("round", "epochs", "samples", "local_steps", "messages", "bytes_down", "bytes_up")
_PAUSE = 1.0  # seconds from one telling to the next
OUTCOME = "outcome.json"  # of a trial that did not finish, with the reason


class Job(NamedTuple):
    """What the trials of a search have in common.

    Attributes:
        space: of their settings.
        metric: by which they are compared.
        folder: of the sweep.
        ended: numbers of those that have their outcome: they only tell their scores again.
        later: stages that all of them go through after their first.
        interval: rounds or epochs after which a trial may be changed; None if it never is.
        unit: the column that counts them.
        rungs: where the scheduler looks at a trial, in the unit; None if at all that it is told.
    """

    space: Space
    metric: Metric
    folder: str
    ended: frozenset[int]
    later: tuple[Stage, ...]
    interval: float | None
    unit: str
    rungs: tuple[float, ...] | None


def reported(metric: Metric) -> tuple[str, ...]:
    """The columns of a run's rows that a trial tells of."""
    return (*metric.columns("val"), *TOTALS, "wall_seconds")


def home_of(folder: Folder, number: int) -> Folder:
    """The folder of a trial's first stage."""
    return folder / f"trials/{number:04d}"


def do(job: Job, number: int, settings: Settings, dataset: StoredDataset | None) -> None:
    """Does a trial, or goes on with it; what goes wrong is written down in its folder.

    Args:
        job: what it has in common with the others.
        number: of the trial.
        settings: that it is to have, or if it goes on with a population's to have from now on.
        dataset: of all of them, without its samples; None if each has its own.
    """
    home = home_of(Folder(job.folder), number)
    if number in job.ended:
        if job.interval is None:
            scores, rows = _Scores(job), read_rows(home)
            for row in rows:
                scores.tell(row, last=row is rows[-1])
        return
    try:
        data = None if dataset is None else with_samples(dataset, ray.get(dataset.arrays))
        place = _move(job, home, settings, data)
        place = _through_stages(job, home, place, settings, data)
        run = _run(job, lineage.read(place, settings)[-1].settings, data, place)
        if job.interval is not None:
            boundaries = _Boundaries(job, run, home, settings)
            raydl.run(run, resume="auto", callback=boundaries, dataset=data)
            return
        scores = _Scores(job, run)
        for row in read_rows(place):
            scores.on_round(row)
        raydl.run(run, resume="auto", callback=scores, dataset=data)
    except NonFiniteError as error:
        _end(lineage.newest(home), "diverged", str(error))
    except Exception as error:  # noqa: BLE001  # whatever it is, the other trials go on
        _end(lineage.newest(home), "failed", f"{type(error).__name__}: {error}")
    else:
        scores.tell(read_rows(place)[-1], last=True)


def _move(job: Job, home: Folder, settings: Settings, data: Dataset | None) -> Folder:
    """Where the trial goes on: in a new stage, if Tune hands it another one's checkpoint."""
    handed = tune.get_checkpoint()
    if handed is None:
        return lineage.newest(home)
    with handed.as_directory() as directory:
        source = Folder(directory)
        if source.read("trial").decode() == home.name:  # it only had to wait for its turn
            return lineage.newest(home)
        saved = checkpoint.newest(source)
        assert saved is not None
        stages = [*lineage.read(source, settings), Stage(saved.round, settings)]
        return lineage.fork(source, home, _run(job, settings, data), stages)


def _through_stages(
    job: Job, home: Folder, place: Folder, settings: Settings, data: Dataset | None
) -> Folder:
    """Goes through all the stages but the last, in which the trial then is."""
    done = lineage.read(place, settings)
    for stage in job.later[len(done) - 1 :]:
        run = _run(job, done[-1].settings, data, place)
        saved = checkpoint.newest(place)
        if saved is None or saved.round < stage.round:
            with suppress(_ReachedError):
                raydl.run(run, resume="auto", callback=_Until(stage.round), dataset=data)
        done.append(Stage(stage.round, settings | stage.settings))
        place = lineage.fork(place, home, _run(job, done[-1].settings, data), done)
    return place


def _run(job: Job, settings: Settings, data: Dataset | None, place: Folder | None = None) -> Run:
    """A trial's run, complete if that does not take to load the data, and its folder."""
    run = job.space.at(settings)
    if data is not None:
        run = replace(count_clients(run, data), model=usual_model(run, data))
    return run if place is None else replace(run, storage=place.parent, name=place.name)


def _end(place: Folder, outcome: str, reason: str) -> None:
    place.write(OUTCOME, json.dumps({"outcome": outcome, "reason": reason}).encode())


class _Scores(Callback):
    """Tells Tune of a run's scored rounds, each of them once: those that the scheduler waits for.

    Of others no more often than a person reads, for the trial waits until Tune has heard. Of the
    last one only when the run is written down: the scheduler may end the trial on hearing.
    """

    def __init__(self, job: Job, run: Run | None = None) -> None:
        self._job, self._run = job, run
        self._round, self._reached, self._at = 0, 0.0, monotonic()

    def on_round(self, row: Row) -> None:
        if self._run is None or not _over(self._run, row):
            self.tell(row)

    def tell(self, row: Row, *, last: bool = False) -> None:
        """Tells of a round, if it is scored and new, and due."""
        number, reached = int(row["round"] or 0), row[self._job.unit] or 0.0
        if row[self._job.metric.column] is None or number <= self._round:
            return
        rungs, now = self._job.rungs, monotonic()
        crossed = rungs is None or any(self._reached < rung <= reached for rung in rungs)
        if last or crossed or now - self._at >= _PAUSE:
            self._round, self._reached, self._at = number, reached, now
            tune.report(_figures(self._job.metric, row))


class _Boundaries(Callback):
    """Tells Tune of a population's trial where it may be changed, and hands over its checkpoint."""

    def __init__(self, job: Job, run: Run, home: Folder, settings: Settings) -> None:
        self._run, self._home, self._job = run, home, job
        self._interval = job.interval or 0.0
        self._place = Folder(run.storage) / str(run.name)
        self._stages = lineage.read(self._place, settings)
        rows = read_rows(self._place)
        self._told = rows[-1][job.unit] or 0.0 if rows else 0.0

    def on_round(self, row: Row) -> None:
        now, metric = row[self._job.unit] or 0.0, self._job.metric
        due = row[metric.column] is not None and now - self._told >= self._interval
        if not due or _over(self._run, row):
            return
        self._told = now
        with TemporaryDirectory(prefix="raydl-") as scratch:
            to = Folder(scratch)
            lineage.copy(self._place, to)
            to.write("trial", self._home.name.encode())
            to.write(lineage.FILE, json.dumps(self._stages).encode())
            handed = tune.Checkpoint.from_directory(scratch)
            tune.report(_figures(metric, row), checkpoint=handed)


class _ReachedError(Exception):
    """A stage is at its end."""


class _Until(Callback):
    """Ends a run after a round, when it is written down."""

    def __init__(self, last: int) -> None:
        self._last = last

    def on_round(self, row: Row) -> None:
        if row["round"] == self._last:
            raise _ReachedError


def _over(run: Run, row: Row) -> bool:
    return run.over(int(row["round"] or 0), row["epochs"] or 0.0)


def _figures(metric: Metric, row: Row) -> Row:
    figures = {name: row[name] for name in reported(metric)}
    return figures | {SCORE: metric.score(row[metric.column])}
