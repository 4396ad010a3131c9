"""A whole run: set-up, rounds, evaluation, record, checkpoints, summary."""

import json
import secrets
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from raydl import checkpoint
from raydl.caller import untouched
from raydl.chosen import title
from raydl.core.errors import Notice, require
from raydl.core.tree import Params
from raydl.course import Course, History
from raydl.data.dataset import Dataset
from raydl.interrupt import Interrupted, Stop, stoppable
from raydl.record import Row, read_rows, table_of
from raydl.resumption import (
    check_same,
    described,
    freed_if_nothing_is_done,
    stored_settings,
)
from raydl.rounds import NonFiniteError
from raydl.runtimes.auto import Auto
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import ClusterError, KeptLostError, Runtime
from raydl.setup import Setup, prepare, usual_model
from raydl.spec import Run
from raydl.storage import Folder

_ATTEMPTS = 100  # to end a run that loses nodes


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
            return Course(run, problem, runtime, Folder(uri), rounded).go(params, stop)
        except KeptLostError as error:
            lost = error
            warnings.warn(f"{error}; the run goes back to its checkpoint", Notice, stacklevel=2)
        except (Interrupted, NonFiniteError, ClusterError) as error:  # no fault of this process's
            return error
    assert lost is not None
    return lost


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
