"""MLflow: a run of its tracking server, or of the store that ``MLFLOW_TRACKING_URI`` names."""

import os
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any

from raydl.callbacks.loggers.logger import Logger, charts, settings_of
from raydl.config.dials import learning_rate
from raydl.core.environment.extras import check_extra
from raydl.run_folder.record import Row
from raydl.signals import Interrupted

if TYPE_CHECKING:
    from raydl.training_loop import History

_AT_ONCE = 500  # figures in a request, of which MLflow takes 1,000
_LONGEST = 500  # characters of a setting


class MLflow(Logger):
    """Settings, figures of every round and the outcome; a resumed run goes on with its own.

    Args:
        experiment: that the run is one of; ``MLFLOW_EXPERIMENT_NAME`` or raydl by default.
    """

    def __init__(self, experiment: str | None = None) -> None:
        super().__init__()
        check_extra("--log mlflow is given, but", "mlflow", ("mlflow",))
        self._experiment = experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME") or "raydl"
        self._waiting: list[Any] = []

    def open(self) -> None:
        """Begins a run, or goes on with the one of this folder."""
        mlflow = import_module("mlflow")
        self._entities = import_module("mlflow.entities")
        self._client: Any = mlflow.MlflowClient()
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = (
            self._client.create_experiment(self._experiment)
            if found is None
            else found.experiment_id
        )
        place = self.folder.absolute
        before = self._client.search_runs([experiment], f"tags.`raydl.folder` = '{place}'")
        if before:
            self._id = before[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
        else:
            made = self._client.create_run(
                experiment, run_name=str(self.run.name), tags={"raydl.folder": place}
            )
            self._id = made.info.run_id
            settings = settings_of(self.run).items()
            params = [self._entities.Param(key, str(each)[:_LONGEST]) for key, each in settings]
            for at in range(0, len(params), 100):
                self._client.log_batch(self._id, params=params[at : at + 100])

    def log(self, row: Row) -> None:
        """Takes a round's figures, which are sent some hundred at a time."""
        self._add(charts(row, None, learning_rate(self.run, row)), row["round"])
        if len(self._waiting) >= _AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Sends what waits."""
        while self._waiting:
            self._client.log_batch(self._id, metrics=self._waiting[:_AT_ONCE])
            del self._waiting[:_AT_ONCE]

    def end(self, history: "History") -> None:
        """Takes the outcome, at the last round."""
        numbers = {
            f"summary/{name}": float(value)
            for name, value in history.summary.items()
            if isinstance(value, int | float) and value == value
        }
        self._add(numbers, history.summary["rounds"])

    def close(self, error: BaseException | None = None) -> None:
        """Sends what waits, and says how it ended."""
        self.flush()
        failed = "KILLED" if isinstance(error, Interrupted) else "FAILED"
        self._client.set_terminated(self._id, "FINISHED" if error is None else failed)

    def _add(self, figures: dict[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._waiting += [
            self._entities.Metric(name, value, now, step) for name, value in figures.items()
        ]
