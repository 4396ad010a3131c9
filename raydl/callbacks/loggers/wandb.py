"""Weights & Biases: a run of the project that ``WANDB_PROJECT`` names."""

import hashlib
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from raydl.callbacks.loggers.logger import Logger, charts, settings_of
from raydl.config.dials import learning_rate
from raydl.core.environment.extras import check_extra
from raydl.run_folder.record import Row

if TYPE_CHECKING:
    from raydl.training_loop import History


class WandB(Logger):
    """Settings, figures of every round and the outcome; a resumed run goes on with its own.

    ``WANDB_MODE=offline`` keeps it on this machine, in ``wandb/`` of the run's folder or of where
    the process is if that is remote.

    Args:
        project: that the run is one of; ``WANDB_PROJECT`` or raydl by default.
    """

    def __init__(self, project: str | None = None) -> None:
        super().__init__()
        check_extra("--log wandb is given, but", "wandb", ("wandb",))
        self._project = project or os.environ.get("WANDB_PROJECT") or "raydl"
        self._logged: Row | None = None

    def open(self) -> None:
        """Begins a run, or goes on with the one of this folder."""
        if self.folder.local is not None:
            self.folder.local.mkdir(parents=True, exist_ok=True)
        wandb = import_module("wandb")
        self._log: Any = wandb.init(
            project=self._project,
            name=str(self.run.name),
            id=hashlib.sha256(self.folder.absolute.encode()).hexdigest()[:16],
            resume="allow",
            config=settings_of(self.run),
            dir=self.folder.local,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    def log(self, row: Row) -> None:
        """Takes a round's figures."""
        before, self._logged = self._logged, row
        self._log.log(charts(row, before, learning_rate(self.run, row)), step=row["round"])

    def end(self, history: "History") -> None:
        """Takes the outcome."""
        self._log.summary.update(history.summary)

    def close(self, error: BaseException | None = None) -> None:
        """Ends the run there."""
        self._log.finish(exit_code=0 if error is None else 1)
