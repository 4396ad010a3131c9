"""Trials: runs side by side under Ray Tune.

Every trial is a `raydl.run` with a folder of its own, ``trials/NNNN``. To resume is to do the same
again: the searcher proposes the same trials, those that have ended tell the scheduler the scores in
their folders and nothing more, and the others go on from their checkpoints. So nothing is kept of
Tune's own state, which is written at intervals and would forget what came after.
"""

import logging
import os
import pickle
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from raydl.runtimes.ray_cluster.problem_store import StoredDataset, without_samples
from raydl.signals import Stop
from raydl.storage import Folder
from tuning.sweep import lineage
from tuning.sweep.config import SweepConfig
from tuning.sweep.lineage import Stage
from tuning.sweep.resources import reserve
from tuning.sweep.results.table import TrialTable, stages_of
from tuning.sweep.schedulers import SETTINGS, rungs, scheduler, seeded, unit_of
from tuning.sweep.space import Settings
from tuning.sweep.trial import SCORE, Job, do, home_of

_SCRATCH = "tune"  # of the sweep's folder, while Tune is at work
_LOSSES = 2  # of a trial's process or its node, after which it goes on from its checkpoint
_KEPT = 4  # checkpoints of a population's trial that others may still want to go on from
_SWITCHES = {  # of Tune, which only the environment sets
    "RAY_AIR_NEW_OUTPUT": "0",  # so that it is silent when told to be
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a run keeps its own record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals end the rounds in hand
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may fail before it is ever scored
}


def search(
    table: TrialTable,
    plan: SweepConfig,
    points: Sequence[Settings] | None,
    stop: Stop,
    *,
    concurrent: int | None,
    dataset: StoredDataset | None = None,
    later: Sequence[Stage] = (),
) -> None:
    """Does the trials that have no outcome yet, on the cluster that this process is on.

    Args:
        table: of the trials; it is filled.
        plan: how it is searched.
        points: the settings of each trial; None for those that Optuna suggests.
        stop: when it is asked to stop, the trials end with the rounds in hand.
        concurrent: trials at the same time, at most.
        dataset: of all the trials, if it is the same.
        later: stages that all of them go through after their first.
    """
    ended, folder, space = table.ended_numbers(), table.folder, table.space
    if len(ended) == (plan.trials if points is None else len(points)):
        return
    population = plan.scheduler == "pbt"
    if population and points is not None:
        points = [_settings_now(folder, number, point) for number, point in enumerate(points)]
    job = Job(
        space,
        table.metric,
        folder.absolute,
        ended,
        tuple(later),
        plan.interval if population else None,
        unit_of(space),
        rungs(plan, space),
    )
    listener = _Listener(table, stop)
    with _scratch(folder) as storage, seeded(plan.seed):
        tune.Tuner(
            tune.with_resources(
                tune.with_parameters(_trial, job=job, dataset=dataset and without_samples(dataset)),
                lambda config: reserve(space.at(_settings(config)), plan.gpus),
            ),
            param_space={} if points is None else {SETTINGS: tune.grid_search(list(points))},
            tune_config=tune.TuneConfig(
                search_alg=_suggestions(table, plan) if points is None else None,
                scheduler=scheduler(plan, space),
                num_samples=plan.trials if points is None else 1,
                max_concurrent_trials=concurrent,
                reuse_actors=True,
                trial_dirname_creator=listener,
            ),
            run_config=tune.RunConfig(
                storage_path=storage,
                stop=_Asked(stop),
                callbacks=[listener, _Silent()],
                checkpoint_config=tune.CheckpointConfig(num_to_keep=_KEPT),
                failure_config=tune.FailureConfig(max_failures=_LOSSES),
                verbose=0,
            ),
        ).fit()


def _suggestions(table: TrialTable, plan: SweepConfig) -> Searcher:
    """Optuna's; on resuming, those of the trials that there were come first."""
    begun = [
        {f"{SETTINGS}/{field}": value for field, value in stages_of(row)[0].settings.items()}
        for row in table.rows
    ]
    domains: dict[str, Any] = {SETTINGS: table.space.domains()}
    return OptunaSearch(domains, SCORE, "max", points_to_evaluate=begun or None, seed=plan.seed)


def _settings(config: Mapping[str, Any]) -> Settings:
    return dict(config[SETTINGS])


def _settings_now(folder: Folder, number: int, settings: Settings) -> Settings:
    """Those of the stage that a population's trial is in."""
    return lineage.read(lineage.newest(home_of(folder, number)), settings)[-1].settings


def _number(trial: Trial) -> int:
    return int(str(trial.custom_dirname))


def _trial(config: Mapping[str, Any], job: Job, dataset: StoredDataset | None) -> None:
    """What Tune starts, in a process that other trials may have used."""
    number = int(Path(tune.get_context().get_trial_dir()).name)
    do(job, number, _settings(config), dataset)


def _loss(trial: Trial) -> str:
    """Why the process of a trial was lost."""
    written = trial.pickled_error_file  # by this process; `get_pickled_error` looks in the storage
    if written is None:
        return "its process was lost"
    error = pickle.loads(Path(written).read_bytes())
    return " ".join(f"{type(error).__name__}: {error}".split())


@contextmanager
def _scratch(folder: Folder) -> Iterator[str]:
    """A folder for what Tune writes, which all its processes reach, while Tune keeps quiet."""
    _clear(folder)  # of what a sweep that was killed left there
    os.environ.update(_SWITCHES)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # a lost process is a row of the table
    try:
        yield (folder / _SCRATCH).absolute
    finally:
        logger.setLevel(level)
        _clear(folder)


def _clear(folder: Folder) -> None:
    if folder.has(_SCRATCH):
        folder.remove(_SCRATCH)


class _Asked(tune.Stopper):
    """Ends the trials after a signal."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._stop.signal)

    def stop_all(self) -> bool:
        return bool(self._stop.signal)


class _Silent(TrialProgressCallback):
    """In the place of Tune's own, which prints of some trials whatever it is told."""

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        pass

    def log_result(
        self,
        trial: Trial,
        result: dict[str, Any],
        error: bool = False,  # noqa: FBT001, FBT002  # as Tune has it
    ) -> None:
        pass


class _Listener(tune.Callback):
    """Numbers Tune's trials as they are made, and tells the table what becomes of them."""

    def __init__(self, table: TrialTable, stop: Stop) -> None:
        self._table, self._stop, self._made = table, stop, 0

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its callbacks down, to resume in a way that is not ours."""
        return {}

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Listener":
        """Itself: Tune copies what it is configured with, and there is one table."""
        return self

    def __call__(self, trial: Trial) -> str:
        """The name of a trial's folder: its number, by which it is known even when it is changed.

        This is the first that is heard of a trial: it is in the table before it begins.
        """
        number, self._made = self._made, self._made + 1
        self._table.begin(number, _settings(trial.config))
        return f"{number:04d}"

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._table.begin(_number(trial), _settings(trial.config))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._table.score(_number(trial), result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        if not self._stop.signal:
            self._table.end(_number(trial))

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._table.end(_number(trial), _loss(trial))
