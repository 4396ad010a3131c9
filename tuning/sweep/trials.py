"""Trials: runs side by side under Ray Tune, in a table that survives any interruption.

Every trial is a `raydl.run` with a folder of its own, ``trials/NNNN``. Its number and its settings
are in ``trials.parquet`` before it begins, and its outcome as soon as it has one. To resume is to
do the same again: the searcher proposes the same trials, those that have ended tell the scheduler
the scores in their folders and nothing more, and the others go on from their checkpoints. So
nothing is kept of Tune's own state, which is written at intervals and would forget what came after.
"""

import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from typing import Any, Protocol, TypeAlias

import pandas as pd
from ray import tune
from ray.tune.experiment import Trial
from ray.tune.search.optuna import OptunaSearch

from raydl.interrupt import Stop
from raydl.storage import Folder
from tuning.sweep.plan import METRIC, MODE, Plan
from tuning.sweep.space import Settings, Space
from tuning.sweep.trial import OUTCOME, REPORTED, do

Row: TypeAlias = dict[str, Any]

TABLE = "trials.parquet"
TESTED = ("test_accuracy", "test_loss")
_SWITCHES = {  # of Tune, which only the environment sets
    "RAY_AIR_NEW_OUTPUT": "0",  # so that it is silent when told to be
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a run keeps its own record
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # signals end the rounds in hand
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial may fail before it is ever scored
}


class Watcher(Protocol):
    """Is told how the trials go on."""

    def changed(self, rows: Sequence[Row]) -> None:
        """Some trial's figures have."""

    def ended(self, row: Row, rows: Sequence[Row]) -> None:
        """A trial has its outcome."""


class Numbered(OptunaSearch):
    """Optuna's suggestions, numbered; on resuming, those of the trials begun come first."""

    _number = -1

    def suggest(self, trial_id: str) -> dict[str, Any] | None:
        """The next trial."""
        settings = super().suggest(trial_id)
        if not isinstance(settings, dict):
            return settings
        self._number += 1
        return {"number": self._number, "settings": settings}


class Trials:
    """The trials of a sweep, or of its winner.

    Args:
        folder: of the table and of the trials' folders.
        space: of the settings.
        plan: how it is searched.
        watcher: is told how it goes on.
    """

    def __init__(self, folder: Folder, space: Space, plan: Plan, watcher: Watcher) -> None:
        self._folder, self._space, self._plan, self._watcher = folder, space, plan, watcher
        self._rows = {row["number"]: row for row in _read(folder)}

    def search(self, points: Sequence[Settings] | None, stop: Stop) -> list[Row]:
        """Does the trials that have no outcome yet, on the cluster that this process is on.

        Args:
            points: the settings of each; None for those that Optuna suggests.
            stop: when it is asked to stop, the trials end with the rounds in hand.

        Returns:
            The table: number, the swept fields, outcome (``finished``; ``stopped`` by the
            scheduler; ``diverged``; ``failed``; ``begun`` if it was interrupted), reason, and the
            figures of the last scored round.
        """
        plan, space = self._plan, self._space
        searcher, space_of_tune, samples = None, {}, 1
        if points is None:
            begun = [json.loads(row["settings"]) for row in self._table()]
            searcher = Numbered(
                space.domains(), METRIC, MODE, points_to_evaluate=begun or None, seed=plan.seed
            )
            samples = plan.trials
        else:
            numbered = [{"number": n, "settings": each} for n, each in enumerate(points)]
            space_of_tune = {"trial": tune.grid_search(numbered)}
        ended = {number for number, row in self._rows.items() if row["outcome"] != "begun"}
        trial = tune.with_resources(
            partial(_trial, space=space, folder=self._folder.uri, ended=ended),
            lambda config: plan.resources(space.at(_settled(config)["settings"])),
        )
        os.environ.update(_SWITCHES)
        with tempfile.TemporaryDirectory(prefix="raydl-tune-") as scratch:
            tune.Tuner(
                trial,
                param_space=space_of_tune,
                tune_config=tune.TuneConfig(
                    search_alg=searcher,
                    scheduler=plan.make_scheduler(space.run),
                    num_samples=samples,
                    max_concurrent_trials=plan.concurrent,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    storage_path=scratch,
                    stop=_Asked(stop),
                    callbacks=[_Listener(self, stop)],
                    verbose=0,
                ),
            ).fit()
        return self._table()

    def begin(self, number: int, settings: Settings) -> None:
        """Writes a trial down before it begins."""
        if number not in self._rows:
            self._rows[number] = {
                "number": number,
                **settings,
                "outcome": "begun",
                "reason": None,
                **dict.fromkeys(REPORTED + TESTED),
                "settings": json.dumps(settings),
            }
            self._write()

    def score(self, number: int, result: Mapping[str, Any]) -> None:
        """Takes a trial's figures, unless it has its outcome and only repeats them."""
        row = self._rows[number]
        if row["outcome"] == "begun":
            row |= {name: result.get(name) for name in REPORTED}
            self._watcher.changed(self._table())

    def end(self, number: int, reason: str | None = None) -> None:
        """Writes a trial's outcome down; ``reason`` is of a process that was lost."""
        row = self._rows[number]
        if row["outcome"] != "begun":
            return
        row |= self._outcome(number, reason)
        self._write()
        self._watcher.ended(row, self._table())

    def _outcome(self, number: int, reason: str | None) -> Row:
        folder = self._folder / _name(number)
        if reason is not None:
            return {"outcome": "failed", "reason": reason}
        if folder.has(OUTCOME):
            return dict(json.loads(folder.read(OUTCOME)))
        if folder.has("summary.json"):
            summary = json.loads(folder.read("summary.json"))
            known = {"round": summary["rounds"]} | summary
            return {"outcome": "finished"} | {name: known[name] for name in REPORTED + TESTED}
        return {"outcome": "stopped", "reason": f"by the scheduler ({self._plan.scheduler})"}

    def _table(self) -> list[Row]:
        return [self._rows[number] for number in sorted(self._rows)]

    def _write(self) -> None:
        table = pd.DataFrame(self._table())
        for field in self._space.fields:
            if field not in self._space.numeric:  # one column holds values of one type
                table[field] = table[field].astype(str)
        content = BytesIO()
        table.to_parquet(content, index=False)
        self._folder.write(TABLE, content.getvalue())


def best_of(rows: Sequence[Row]) -> Row | None:
    """The finished trial that did best in validation, of equal ones the first; None if none did."""
    finished = [row for row in rows if row["outcome"] == "finished"]
    return max(finished, key=lambda row: row[METRIC], default=None)


def told(row: Row) -> str:
    """What became of a trial, in a few words."""
    if row["outcome"] in ("diverged", "failed"):
        return f"{row['outcome']}: {row['reason']}"
    scored = "not scored yet" if row[METRIC] is None else f"validation {100 * row[METRIC]:.2f} %"
    return scored if row["outcome"] in ("begun", "finished") else f"{scored}, {row['outcome']}"


def _read(folder: Folder) -> list[Row]:
    """The table's rows; none if there is no table yet."""
    if not folder.has(TABLE):
        return []
    table = pd.read_parquet(BytesIO(folder.read(TABLE)))
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    return [row | json.loads(row["settings"]) for row in rows]


def _name(number: int) -> str:
    return f"trials/{number:04d}"


def _settled(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """A trial's number and settings: Tune's grid has them below a key, a searcher at the top."""
    return config.get("trial", config)


def _trial(config: Mapping[str, Any], space: Space, folder: str, ended: set[int]) -> None:
    """What Tune starts, in a process that other trials may have used."""
    number, settings = (_settled(config)[key] for key in ("number", "settings"))
    do(space, settings, Folder(folder) / _name(number), number in ended)


class _Asked(tune.Stopper):
    """Ends the trials after a signal."""

    def __init__(self, stop: Stop) -> None:
        self._stop = stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return bool(self._stop.signal)

    def stop_all(self) -> bool:
        return bool(self._stop.signal)


class _Listener(tune.Callback):
    """Tells the table what becomes of Tune's trials."""

    def __init__(self, trials: Trials, stop: Stop) -> None:
        self._trials, self._stop = trials, stop

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Tune writes its callbacks down, to resume in a way that is not ours."""
        return {}

    def on_trial_start(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        self._trials.begin(**_settled(trial.config))

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, Any],
        **info: Any,
    ) -> None:
        self._trials.score(_settled(trial.config)["number"], result)

    def on_trial_complete(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        if not self._stop.signal:
            self._trials.end(_settled(trial.config)["number"])

    def on_trial_error(
        self, iteration: int, trials: list[Trial], trial: Trial, **info: Any
    ) -> None:
        lost = trial.get_pickled_error()
        self._trials.end(_settled(trial.config)["number"], f"{type(lost).__name__}: {lost}")
