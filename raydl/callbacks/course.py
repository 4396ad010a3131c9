"""The course of a run as it can be told to a person at any moment: what, how far, how well."""

from collections import deque
from dataclasses import fields, is_dataclass
from math import inf
from time import monotonic
from typing import Any

import torch

from raydl.config.choices import name_of
from raydl.config.dials import dials_of, learning_rate
from raydl.config.given import title
from raydl.config.run import Run
from raydl.core.environment.stages import RunStage
from raydl.data.participations.selector import first_cohort
from raydl.run_folder.record import Row, read_rows
from raydl.run_folder.results.wording import Measure, duration, size
from raydl.runtimes.problem import Problem
from raydl.storage import Folder

_RECENT = 10  # rounds that speeds are told of
_STARTING = "starting workers"


class Course:
    """What is known of a run so far; it is told what a `Callback` is.

    Attributes:
        stage: that was entered since the last round; None if there was none.
        since: when that was, or when the last round ended, by the monotonic clock.
        rounds: done by now.
        path: path of the run's folder, once it has begun.
    """

    def __init__(self) -> None:
        self.stage: RunStage | None = None
        self.since = monotonic()
        self.rounds, self.path = 0, ""
        self._workers = RunStage(_STARTING)
        self._told: deque[tuple[float, Row]] = deque(maxlen=_RECENT + 1)
        self._first = 0.0  # share of the run that was done before it was taken up
        self._began = self.since
        self._best: tuple[int, float] | None = None
        self._run: Run | None = None

    def enter(self, stage: RunStage) -> None:
        """Takes note of a stage."""
        if self.stage is None or self.stage.name != stage.name:
            self.since = monotonic()
        self.stage = stage
        if stage.name == _STARTING:
            self._workers = stage

    def start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Takes note of the run, and of the rounds that it has already."""
        self._run, self.path = run, folder.uri
        self._measure = Measure.of(problem.task.spec)
        self._cohort = len(first_cohort(run.selector(problem.partition.sizes)))
        self._heading = _heading(run, problem, self._cohort)
        rows = read_rows(folder)
        for row in rows:
            self._note_best(row)
        if rows:
            self._first, self.rounds = self._share(rows[-1]), rows[-1]["round"]

    def add(self, row: Row) -> None:
        """Takes note of a round."""
        self.stage, self.since, self.rounds = None, monotonic(), row["round"]
        if not self._told:
            before = row["wall_seconds"] if row["round"] == 1 else 0.0
            self._began = self.since - before
        self._told.append((self.since, row))
        self._note_best(row)

    @property
    def heading(self) -> str:
        """What is trained, on what, by whom and where: some lines."""
        return f"{self._heading}\nin {self.path}"

    @property
    def position(self) -> str:
        """How far it is: ``round 3/30``, with the epoch where those are counted."""
        run = self._run
        if run is None or not self._told:
            return f"round {self.rounds}" if self.rounds else "set-up"
        last, row = run.last_round, self._told[-1][1]
        text = f"round {self.rounds}" + (f"/{last}" if last else "")
        if run.epochs is not None:
            text += f", epoch {row['epochs']:.1f}/{run.epochs:g}"
        return text

    @property
    def share(self) -> float:
        """The part of the run that is done, in [0, 1]."""
        return self._share(self._told[-1][1]) if self._told else self._first

    @property
    def seconds_left(self) -> float | None:
        """Seconds that it takes at the speed so far; None before that is known."""
        gained = self.share - self._first
        if not self._told or gained <= 0:
            return None
        spent = self._told[-1][0] - self._began
        if self._first and len(self._told) < 2:
            return None
        return max(0.0, spent / gained * (1 - self.share) - (monotonic() - self.since))

    @property
    def left(self) -> str:
        """The same in words."""
        seconds = self.seconds_left
        return "" if seconds is None else f"{duration(seconds)} left"

    @property
    def figures(self) -> list[str]:
        """How well it goes: loss, validation and best so far, speeds, learning rate, who trains."""
        if not self._told or self._run is None:
            return []
        row, column = self._told[-1][1], f"val_{self._measure.best}"
        parts = [f"loss {row['train_loss']:.4g}" if row.get("train_loss") is not None else "loss –"]
        latest = next((r for _, r in reversed(self._told) if r.get(column) is not None), None)
        if latest is not None:
            parts.append(self._validation(column, latest[column]))
        parts += [*self._speeds(), *self._rate(row), self._who(row)]
        return parts

    def _validation(self, column: str, value: float) -> str:
        name = self._measure.best.replace("_", " ")
        text = f"validation {name} {self._brief(column, value)}"
        if self._best is not None and self._best[1] != value:
            number, best = self._best
            text += f" (best {self._brief(column, best)} in round {number})"
        return text

    def _brief(self, column: str, value: float) -> str:
        return f"{100 * value:.1f} %" if self._measure.is_share(column) else f"{value:.4g}"

    def _speeds(self) -> list[str]:
        row = self._told[-1][1]
        (since, first), (until, last) = self._told[0], self._told[-1]
        rounds, samples, seconds = last["round"] - first["round"], 0, until - since
        if rounds > 0:
            samples = last["samples"] - first["samples"]
        elif row["round"] == 1:
            rounds, samples, seconds = 1, row["samples"], row["wall_seconds"]
        if rounds <= 0 or seconds <= 0:
            return []
        return [f"{seconds / rounds:.3g} s/round", f"{samples / seconds:,.0f} samples/s"]

    def _rate(self, row: Row) -> list[str]:
        assert self._run is not None
        rate = learning_rate(self._run, row)
        return [] if rate is None else [f"lr {rate:.4g}"]

    def _who(self, row: Row) -> str:
        assert self._run is not None
        run = self._run
        if run.workers is not None:
            text = "1 worker" if run.workers == 1 else f"{run.workers} workers"
        else:
            text = f"{row['clients']} of {run.population:,} clients"
        if run.workers is None and self._workers.done is not None:
            up, of = self._workers.done, self._workers.of
            text += f" on {up} workers" if up == of else f" on {up} of {of} workers"
        return text

    def _share(self, row: Row) -> float:
        assert self._run is not None
        done: float = row["round"] / (self._run.last_round or inf)
        if self._run.epochs is not None:
            done = max(done, row["epochs"] / self._run.epochs)
        return min(1.0, done)

    def _note_best(self, row: Row) -> None:
        value = row.get(f"val_{self._measure.best}")
        if value is not None and self._measure.better(value, self._best and self._best[1]):
            self._best = row["round"], value


def _heading(run: Run, problem: Problem, cohort: int) -> str:
    assert run.model is not None
    parameters = [*problem.task.model.parameters()]
    count = sum(each.numel() for each in parameters)
    nbytes = sum(each.numel() * each.element_size() for each in parameters)
    samples, task = len(problem.dataset.train.targets), title(problem.task.spec)
    return "\n".join(
        [
            f"{title(run.algorithm)} on {problem.dataset.name} ({task}, {samples:,} samples)",
            f"{run.model.name} with {count:,} parameters, {size(nbytes)}",
            _who_trains(run, cohort),
            _where(run),
        ]
    )


def _who_trains(run: Run, cohort: int) -> str:
    letters = dials_of(run)
    if run.workers is not None:
        return f"{run.workers} {'worker' if run.workers == 1 else 'workers'} ({letters})"
    split = title(run.partition)
    return f"{run.population:,} clients, {cohort:,} a round, {split} ({letters})"


def _where(run: Run) -> str:
    runtime, device = run.runtime, getattr(run.runtime, "device", "cpu")
    name = name_of("runtime", type(runtime))
    workers = getattr(runtime, "workers", None)
    text = name + (f" with {workers} workers" if workers is not None else "")
    text += f" on {device}, {run.precision}"
    if device == "cpu" and torch.cuda.is_available():
        option = "--runtime.gpus auto" if _has(runtime, "gpus") else "--runtime.device cuda"
        text += f"; torch finds a GPU here, which is not used: {option}"
    return text


def _has(spec: Any, name: str) -> bool:
    return is_dataclass(spec) and name in {each.name for each in fields(spec)}
