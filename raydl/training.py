"""A whole run: set-up, rounds, evaluation, record, checkpoints, summary."""

import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from torch import nn

from raydl.assembly.assemble import Assembled, assemble, count_clients, usual_model
from raydl.callbacks.callback import Callback, CallbackLike, Several, as_callbacks
from raydl.callbacks.display import displayed
from raydl.callbacks.loggers.named import loggers
from raydl.caller import untouched
from raydl.config.given import title
from raydl.config.run import Run
from raydl.core.environment.stages import RunStage, enter, heard_by
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.data.dataset import Dataset
from raydl.data.participations.selector import first_cohort
from raydl.round import NonFiniteError
from raydl.run_folder import checkpoint
from raydl.run_folder.patience import out_of_patience
from raydl.run_folder.record import Row, read_rows, table_of
from raydl.run_folder.results.wording import Measure
from raydl.run_folder.resumption import (
    check_same,
    remove_if_nothing_is_done,
    run_yaml,
    stored_settings,
)
from raydl.run_folder.start import read_start
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import ClusterError, CohortRuntime, ServerRuntime
from raydl.signals import Interrupted, Stop, stoppable
from raydl.storage import Folder
from raydl.training_loop import History, TrainingLoop


@untouched()
def run(
    spec: Run,
    *,
    resume: bool | Literal["auto"] = False,
    callback: CallbackLike | Sequence[CallbackLike] | None = None,
    dataset: Dataset | None = None,
    progress: bool | None = None,
) -> History:
    """Does a run, and leaves its folder under ``spec.storage``.

    The process is left as it was, see `raydl.caller.untouched`. A run that fails before a round of
    it is written down leaves no folder, so that its name is free again.

    Args:
        spec: what to do.
        resume: whether to go on from the newest sound checkpoint of the run of that name, to the
            numbers of a run that was never interrupted; ``auto`` does so if there is such a run,
            and begins it otherwise.
        callback: is told how it goes on: a `raydl.Callback`, a function that is called with the row
            of each round, or a list of these.
        dataset: what ``spec.data`` loads, if it is at hand already.
        progress: whether it is shown how it goes on; by default in a notebook alone.

    Returns:
        The run's history.

    Raises:
        SpecError: before any work, if the run cannot be done as described.
        NonFiniteError: if a client's update is not finite and ``on_nonfinite`` is ``fail``.
        Interrupted: after SIGINT or SIGTERM, when the round in hand is done and written down.
        ClusterError: if workers are lost again and again.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> import raydl
        >>> with TemporaryDirectory() as runs:
        ...     run = raydl.Run(rounds=2, clients=10, runtime="sequential", storage=runs)
        ...     history = raydl.run(run)
        >>> history.table["round"].tolist()
        [1, 2]
    """
    given = as_callbacks(callback)
    with displayed(progress=progress) as shown:
        told = Several([*shown, *loggers(spec), *given])
        with heard_by(told.on_stage):
            return _run(spec, told, dataset, resume=resume)


def _run(
    spec: Run, callback: Callback, dataset: Dataset | None, *, resume: bool | Literal["auto"]
) -> History:
    run_yaml(spec)  # refuses what run.yaml cannot hold
    spec = spec if spec.name else replace(spec, name=_new_name(spec))
    folder = Folder(spec.storage) / str(spec.name)
    stored = stored_settings(folder, spec, resume=resume)
    start = read_start(spec, folder, resumed=stored is not None)
    setup = assemble(spec, dataset, start and start.model)
    spec = _resolve(spec, setup, callback)
    if stored:
        check_same(spec, stored)
        rows = read_rows(folder)
        done, epochs = (rows[-1]["round"], rows[-1]["epochs"]) if rows else (0, 0.0)
        least = f"{done} or larger: so many are done already"
        require(spec.rounds is None or spec.rounds >= done, "rounds", spec.rounds, least)
        measure = Measure.of(setup.problem.task.spec)
        over = spec.over(done, epochs) or out_of_patience(rows, measure, spec.stop.patience)
        if folder.has("summary.json") and over:
            saved = checkpoint.newest(folder)
            if saved and saved.round == done:
                return _read_finished(folder, rows, saved.model.state, setup.problem.make)
    Folder(spec.storage).make()
    try:
        with remove_if_nothing_is_done(folder, spec), stoppable() as stop:
            callback.on_start(spec, setup.problem, folder)
            if start and not stored:
                checkpoint.save_start(folder, start)
            enter("setting up the runtime")
            # Other processes that run the loop are in other folders than this one.
            loop = partial(_loop, spec, folder.absolute, setup.params)
            outcome = spec.runtime.launch(setup.problem, loop, _listener(callback), stop)
            if isinstance(outcome, BaseException):
                raise outcome
    except BaseException as error:
        callback.on_error(error)
        raise
    history: History = outcome._replace(path=folder.uri, make=setup.problem.make)
    callback.on_end(history)
    return history


def _listener(callback: Callback) -> Callable[[Row | RunStage], None]:
    """What takes the messages of the training loop, wherever that runs."""

    def tell(message: Row | RunStage) -> None:
        if isinstance(message, RunStage):
            callback.on_stage(message)
        else:
            callback.on_round(message)

    return tell


def _read_finished(
    folder: Folder, rows: list[Row], params: Params, make: Callable[[], nn.Module] | None
) -> History:
    """The history of a run that is finished."""
    summary = json.loads(folder.read("summary.json"))
    return History(table_of(rows), summary, folder.uri, params, make)


def _loop(
    run: Run,
    uri: str,
    params: Params,
    problem: Problem,
    runtime: CohortRuntime | ServerRuntime,
    tell: Callable[[Row | RunStage], None],
    stop: Stop,
) -> History | Interrupted | NonFiniteError | ClusterError:
    """Does the run in this process, from the newest checkpoint in its folder if there is one."""
    try:
        with heard_by(tell if runtime.is_leader else _ignore):
            return TrainingLoop(run, problem, runtime, Folder(uri), tell).run(params, stop)
    except (Interrupted, NonFiniteError, ClusterError) as error:  # no fault of this process's
        return error


def _ignore(stage: RunStage) -> None:
    """Those of a process that does not lead are the leader's."""


def _new_name(run: Run) -> str:
    kinds = title(run.algorithm), title(run.data)
    unique = secrets.token_hex(2)  # other runs may begin in the same second
    return "-".join([*kinds, time.strftime("%Y%m%d-%H%M%S"), unique])


def _resolve(run: Run, setup: Assembled, callback: Callback) -> Run:
    """The run with what it left open: the usual model and task, the fastest runtime."""
    problem = setup.problem
    run = count_clients(run, problem.dataset).with_usual_numbers()
    run = replace(run, model=usual_model(run, problem.dataset), task=problem.task.spec)
    cohort = first_cohort(run.selector(problem.partition.sizes))
    choice = run.runtime.resolve(problem, iter([cohort]), run.last_round or 100)
    if choice.reason:
        callback.on_runtime(choice.reason)
    return replace(run, runtime=choice.runtime)
