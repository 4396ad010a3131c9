"""A whole run: set-up, rounds, evaluation, record, checkpoints, summary."""

import json
import secrets
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch

from raydl import checkpoint, options
from raydl.caller import untouched
from raydl.chosen import title
from raydl.core import tree
from raydl.core.errors import Notice, SpecError, require
from raydl.core.module import complete, frozen
from raydl.core.tree import Params
from raydl.data.dataset import Dataset
from raydl.interrupt import Interrupted, Stop, stoppable
from raydl.record import COLUMNS, Record, Row, read_rows, score_columns, table_of
from raydl.resumption import (
    FREE,
    check_same,
    described,
    freed_if_nothing_is_done,
    stored_settings,
)
from raydl.rounds import NonFiniteError, Round, rounds
from raydl.runtimes.auto import Auto
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import ClusterError, KeptLostError, Runtime
from raydl.setup import Setup, prepare, usual_model
from raydl.spec import Run
from raydl.storage import Folder

_ATTEMPTS = 100  # to end a run that loses nodes


class History(NamedTuple):
    """What a run did.

    Attributes:
        table: a row for each round; the columns are those of `raydl.record.COLUMNS`.
        summary: the last row's totals, the final accuracies and the parameters' fingerprint.
        path: of the run's folder.
        params: the final parameters and buffers, all of the model's ``state_dict``.
    """

    table: pd.DataFrame
    summary: dict[str, Any]
    path: str
    params: Params


class Observer:
    """Is told how a run goes on; this one does not care. See `raydl.progress` for one that does."""

    def began(self, run: Run, problem: Problem, folder: Folder) -> None:
        """The run is set up; ``run`` is as it is written to ``run.yaml``."""

    def chose(self, reason: str) -> None:
        """The runtime was chosen by measuring."""

    def rounded(self, row: Row) -> None:
        """A round is done and, if it was to be, scored and written down."""


def run(
    spec: Run,
    *,
    resume: bool = False,
    observer: Observer | None = None,
    dataset: Dataset | None = None,
) -> History:
    """Does a run, and leaves its folder under ``spec.storage``.

    The process is left as it was, see `raydl.caller.untouched`. A run that fails before a round of
    it is written down leaves no folder, so that its name is free again.

    Args:
        spec: what to do.
        resume: goes on from the newest sound checkpoint of the run of that name. The numbers are
            then those of a run that was never interrupted.
        observer: is told how it goes on.
        dataset: what ``spec.data`` loads, if it is at hand already.

    Returns:
        The run's history.

    Raises:
        SpecError: before any work, if the run cannot be done as described.
        NonFiniteError: if a client's update is not finite and ``on_nonfinite`` is ``fail``.
        Interrupted: after SIGINT or SIGTERM, when the round in hand is done and written down.
        ClusterError: if workers are lost again and again.

    Example:
        >>> history = raydl.run(Run(rounds=50, data=Digits()))  # doctest: +SKIP
        >>> history.table[["round", "val_accuracy"]]  # doctest: +SKIP
    """
    with untouched():
        return _whole(spec, resume, observer or Observer(), dataset)


def _whole(spec: Run, resume: bool, observer: Observer, dataset: Dataset | None) -> History:
    described(spec)  # refuses what run.yaml cannot hold
    spec = spec if spec.name else replace(spec, name=_new_name(spec))
    folder = Folder(spec.storage) / str(spec.name)
    stored = stored_settings(folder, spec, resume)
    setup = prepare(spec, dataset)
    spec = _resolved(spec, setup, observer)
    if stored:
        check_same(spec, stored)
        rows = read_rows(folder)
        done, epochs = (rows[-1]["round"], rows[-1]["epochs"]) if rows else (0, 0.0)
        least = f"{done} or larger: so many are done already"
        require(spec.rounds is None or spec.rounds >= done, "rounds", spec.rounds, least)
        if folder.has("summary.json") and spec.over(done, epochs):
            saved = checkpoint.newest(folder)
            if saved and saved.round == done:
                return _finished(folder, rows, saved.model.state)
    Folder(spec.storage).make()
    observer.began(spec, setup.problem, folder)
    with freed_if_nothing_is_done(folder, spec), stoppable() as stop:
        # Other processes that take the course are in other folders than this one.
        course = partial(_go, spec, folder.absolute, setup.params)
        outcome = spec.runtime.drive(setup.problem, course, observer.rounded, stop)
        if isinstance(outcome, BaseException):
            raise outcome
    return outcome._replace(path=folder.uri)


def _finished(folder: Folder, rows: list[Row], params: Params) -> History:
    """The history of a run that is finished."""
    return History(table_of(rows), json.loads(folder.read("summary.json")), folder.uri, params)


def _go(
    run: Run,
    uri: str,
    params: Params,
    problem: Problem,
    runtime: Runtime,
    rounded: Callable[[Row], None],
    stop: Stop,
) -> History | Interrupted | NonFiniteError | ClusterError:
    """Does the run in this process, from the newest checkpoint in its folder if there is one."""
    lost: ClusterError | None = None
    for _ in range(_ATTEMPTS):
        try:
            return _Course(run, problem, runtime, Folder(uri), rounded).go(params, stop)
        except KeptLostError as error:
            lost = error
            warnings.warn(f"{error}; the run goes back to its checkpoint", Notice, stacklevel=2)
        except (Interrupted, NonFiniteError, ClusterError) as error:  # no fault of this process's
            return error
    assert lost is not None
    return lost


class _Course:
    """The rounds of one run, with everything that is done between them.

    Of several processes that do the run together, the one that leads writes it down.
    """

    def __init__(
        self,
        run: Run,
        problem: Problem,
        runtime: Runtime,
        folder: Folder,
        rounded: Callable[[Row], None],
    ) -> None:
        self._run, self._problem, self._runtime = run, problem, runtime
        self._folder, self._rounded = folder, rounded
        self._pending: Callable[[], Row] | None = None

    def go(self, params: Params, stop: Stop) -> History:
        run, algorithm, saved = self._run, self._problem.algorithm, checkpoint.newest(self._folder)
        start, state = 0, algorithm.init(params)
        if saved:
            self._check_frozen(saved)
            start, state = saved.round, saved.state
        self._runtime.restore(saved.kept if saved else {})
        if self._runtime.leads:
            self._folder.write("run.yaml", described(run, self._problem.dataset).encode())
            if self._folder.has("summary.json"):
                self._folder.remove("summary.json")  # of a finished run that now goes on
        samples = len(self._problem.dataset.train.targets)
        self._record = Record(self._folder, samples, start, writes=self._runtime.leads)
        with closing(self._record):
            self._best = checkpoint.Best(self._folder, self._record.rows)
            return self._train(start, state, stop)

    def _train(self, start: int, state: tree.Tree, stop: Stop) -> History:
        """The rounds after ``start``."""
        run, algorithm = self._run, self._problem.algorithm
        samples = len(self._problem.dataset.train.targets)
        seen = int(self._record.rows[-1]["samples"]) if start else 0
        endless = rounds(algorithm, self._runtime, state, run.cohorts(), start, run.on_nonfinite)
        over = run.over(start, seen / samples)
        while not over:
            done = next(endless)
            if self._pending:
                self._tell(self._take_pending())
            # The partition is not drawn before: matplotlib takes its time to import.
            if done.number == 1 and self._runtime.leads:
                self._draw_partition()
            before, seen, state = seen, seen + done.samples, done.state
            passed = done.number, before / samples, seen / samples
            over = run.over(done.number, seen / samples)
            signal = self._runtime.agree(stop.signal)
            self._pending = self._score(done, over or run.due(run.evaluation.every, 1, *passed))
            if over or signal or run.due(run.checkpoint.every, 10, *passed):
                row = self._take_pending()
                self._save(done.number, state)
                self._tell(row)
            if signal:
                raise Interrupted(signal, self._folder.uri, done.number)
        return self._summarize(state)

    def _score(self, done: Round, due: bool) -> Callable[[], Row]:
        """Starts to score a round, beside the next one; what is returned waits for its row."""
        params = self._problem.algorithm.params(done.state)
        splits = {"val": "validation"} if due else {}
        splits |= {"test": "test"} if due and self._run.evaluation.test == "each" else {}
        scores = {name: self._runtime.evaluate(params, split) for name, split in splits.items()}

        def row() -> Row:
            added = self._record.add(done, {name: wait() for name, wait in scores.items()})
            self._best.offer(added, params)
            return added

        return row

    def _take_pending(self) -> Row:
        assert self._pending is not None
        row, self._pending = self._pending(), None
        return row

    def _tell(self, row: Row) -> None:
        self._rounded(row)
        self._runtime.report(str(self._run.name), row)

    def _save(self, number: int, state: tree.Tree) -> None:
        self._record.write()  # first, so that there is a row for every round of a checkpoint
        kept = self._runtime.kept()
        if self._runtime.leads:
            model = self._problem.task.model
            whole = complete(model, self._problem.algorithm.params(state))
            saved = checkpoint.Checkpoint(number, state, kept, whole)
            self._best.write(model)
            checkpoint.save(self._folder, saved, self._run.checkpoint.keep)

    def _summarize(self, state: tree.Tree) -> History:
        params = self._problem.algorithm.params(state)
        last = self._record.rows[-1]
        test = self._tested(params)
        last |= test
        settings = options.flatten(options.to_mapping(self._run))
        settings = {key: value for key, value in settings.items() if key not in FREE}
        summary = {
            "fingerprint": tree.fingerprint(params),
            "rounds": last["round"],
            **{name: last[name] for name in COLUMNS.names if name not in ("round", "clients")},
            "parameters": sum(leaf.numel() for _, leaf in tree.leaves(params)),
            **self._best_scores(test),
        }
        self._record.summarize(settings, summary)
        whole = complete(self._problem.task.model, params).state
        return History(table_of(self._record.rows), summary, self._folder.uri, whole)

    def _check_frozen(self, saved: checkpoint.Checkpoint) -> None:
        """Raises a SpecError if the model's frozen parameters are not those of the run so far."""
        for name, each in frozen(self._problem.task.model).items():
            if not torch.equal(saved.model.state.get(name, each).to(each.device), each):
                raise SpecError(
                    f"the model's frozen parameter {name} is not what the run began with; what "
                    "makes the model must give the same frozen parameters each time"
                )

    def _best_scores(self, last: Row) -> Row:
        """What the parameters score that did best in validation; ``last`` are the last ones'."""
        row, params = self._best.row, self._best.params
        if row is None or params is None:
            return {}
        if row["round"] != self._record.rows[-1]["round"]:
            last = self._tested(params)
        scores = {"round": row["round"], "val_accuracy": row["val_accuracy"]} | last
        return {f"best_{name}": value for name, value in scores.items()}

    def _tested(self, params: Params) -> Row:
        """What parameters score on the test set; nothing if it is not to be looked at."""
        if self._run.evaluation.test == "never":
            return {}
        return score_columns({"test": self._runtime.evaluate(params, "test")()})

    def _draw_partition(self) -> None:
        from raydl.data.figures import label_counts, plot_partition

        labels = self._problem.dataset.train.targets.numpy()
        if labels.ndim == 1:
            counts = label_counts(labels, self._problem.partition, self._problem.dataset.classes)
            heading = f"{self._problem.dataset.name}, {title(self._run.partition)}"
            self._record.figure("data/partition", plot_partition(counts, heading))


def _new_name(run: Run) -> str:
    kinds = title(run.algorithm), title(run.data)
    unique = secrets.token_hex(2)  # other runs may begin in the same second
    return "-".join([*kinds, time.strftime("%Y%m%d-%H%M%S"), unique])


def _resolved(run: Run, setup: Setup, observer: Observer) -> Run:
    """The run with what it left open: the model that is usual, the runtime that is fastest."""
    run = replace(run, model=usual_model(run, setup.problem.dataset))
    if isinstance(run.runtime, Auto):
        choice = run.runtime.choose(setup.problem, next(run.cohorts()), run.last_round or 100)
        observer.chose(choice.reason)
        run = replace(run, runtime=choice.runtime)
    return run
