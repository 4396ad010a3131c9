"""TensorBoard: charts, the partition, the settings as a card and as hyperparameters.

The events lie in the run's folder itself, since TensorBoard names a run by their folder.
"""

import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator, Mapping
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from raydl.callbacks.loggers.logger import Logger, chart, charts, settings_of
from raydl.config.dials import dials_of, learning_rate
from raydl.config.given import title
from raydl.config.run import Run
from raydl.core.environment.extras import has_plots
from raydl.run_folder.record import Row
from raydl.run_folder.results.pictures import PREDICTIONS
from raydl.storage import Folder

if TYPE_CHECKING:
    from raydl.training_loop import History

_BY_DATA = ("model.", "task.", "runtime.")  # settings that follow from data or machine, if not set
EVENTS = "events.out.tfevents."  # how the names of its files begin


class Board:
    """Events, written in a folder, or beside and copied if that is remote.

    Args:
        folder: folder of the run.
        rounds: that are done already, if it is taken up again: later events are forgotten.
    """

    def __init__(self, folder: Folder, rounds: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._remote = None if folder.local else folder
        self._path = Path(folder.local or tempfile.mkdtemp(prefix="raydl-"))
        self.writer = SummaryWriter(self._path, purge_step=rounds + 1 if rounds else None)

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Adds values by their charts."""
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def picture(self, name: str, content: bytes, step: int) -> None:
        """Adds a picture, given as PNG."""
        from PIL.Image import open as opened

        pixels = np.asarray(opened(BytesIO(content)).convert("RGB"))
        self.writer.add_image(name, pixels, step, dataformats="HWC")

    def hparams(self, settings: Mapping[str, Any], metrics: Iterable[str]) -> None:
        """Adds the settings as hyperparameters, and which columns show what they led to.

        Those that are not what is usual come first, since a table begins with five.

        Args:
            settings: by dotted name.
            metrics: columns of the run's rows, in the order in which they are shown.
        """
        from torch.utils.tensorboard.summary import hparams

        plain = {key: _plain(value) for key, value in settings.items()}
        experiment, *others = hparams(plain, {chart(column): 0.0 for column in metrics})
        _bring_forward(experiment, set(_set(settings)))
        file_writer: Any = self.writer.file_writer  # of which torch says that it is None
        for event in (experiment, *others):
            file_writer.add_summary(event)

    def flush(self) -> None:
        """Makes what was added so far visible."""
        self.writer.flush()
        if self._remote:
            for file in self._path.iterdir():
                self._remote.write(file.name, file.read_bytes())

    def close(self) -> None:
        """Ends the events."""
        self.flush()
        self.writer.close()
        if self._remote:
            shutil.rmtree(self._path)


class TensorBoard(Logger):
    """Charts of every round: metrics by split, the losses, learning rate and speed, totals."""

    def __init__(self) -> None:
        super().__init__()
        self._board: Board | None = None
        self._logged: Row | None = None

    def log(self, row: Row) -> None:
        """Adds a row; one that goes back makes what came after it forgotten."""
        again = self._logged is not None and row["round"] <= self._logged["round"]
        if self._board is None or again:
            self._open(row["round"] - 1)
        assert self._board is not None
        before = None if again else self._logged
        rate = learning_rate(self.run, row)
        self._board.scalars(charts(row, before, rate), row["round"])
        self._logged = row

    def flush(self) -> None:
        """Writes the events down."""
        if self._board is not None:
            self._board.flush()

    def end(self, history: "History") -> None:
        """Adds what the last parameters score on the test set."""
        if self._board is not None:
            last = {str(name): each for name, each in history.table.iloc[-1].dropna().items()}
            scores = {chart(name): last[name] for name in last if name.startswith("test_")}
            self._board.scalars(scores, history.summary["rounds"])
            if self.folder.has(PREDICTIONS):
                picture = self.folder.read(PREDICTIONS)
                self._board.picture("predictions/test", picture, history.summary["rounds"])

    def close(self, error: BaseException | None = None) -> None:
        """Ends the events."""
        if self._board is not None:
            self._board.close()
            self._board = None

    def _open(self, rounds: int) -> None:
        if self._board is not None:
            self._board.close()
        self._board = Board(self.folder, rounds)
        settings, best = settings_of(self.run), self.measure.best
        columns = f"test_{best}", f"val_{best}", "train_loss", "bytes_up", "wall_seconds"
        self._board.hparams(settings, columns)
        if not rounds:
            self._board.writer.add_text("settings", _card(settings), 0)
            self._draw_partition(self._board)

    def _draw_partition(self, board: Board) -> None:
        """Adds how labels and sizes fall over the clients, of data with classes."""
        if not has_plots():
            return
        from raydl.data.figures import label_counts, plot_partition

        dataset, partition = self.problem.dataset, self.problem.partition
        labels = dataset.train.labels()
        if labels is not None and dataset.classes is not None:
            counts = label_counts(labels, partition, dataset.classes)
            about = f"{dataset.name}, {title(self.run.partition)} ({dials_of(self.run)})"
            board.writer.add_figure("data/partition", plot_partition(counts, about))


def _set(settings: Mapping[str, Any]) -> Iterator[str]:
    """The settings that are not what is usual for any data."""
    usual = settings_of(Run().with_usual_numbers())
    for name, value in settings.items():
        if usual.get(name) != value and not name.startswith(_BY_DATA):
            yield name


def _plain(value: Any) -> int | float | str:
    """A value as a table of hyperparameters shows it; there a bool would be 0.0000 or 1.0000."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, int | float | str) else str(value)


def _bring_forward(experiment: Any, names: Collection[str]) -> None:
    """Has TensorBoard list some hyperparameters first: it begins with those that differ."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    packed = experiment.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(packed.content)
    for each in content.experiment.hparam_infos:
        each.differs = each.name in names
    packed.content = content.SerializeToString()


def _card(settings: Mapping[str, Any]) -> str:
    """Settings as a table in Markdown."""
    rows = (f"| {name} | {value} |" for name, value in settings.items())
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])
