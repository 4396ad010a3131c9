"""Pictures in a run's folder: its curves, and what its predictions are worth."""

import warnings

from raydl.core.errors import Notice
from raydl.core.task import TaskSpec
from raydl.drawing import as_png
from raydl.runtimes.worker.evaluation import Score
from raydl.storage import Folder

CURVES, PREDICTIONS = "curves.png", "predictions.png"


def draw_predictions(
    folder: Folder, name: str, task: TaskSpec, score: Score, title: str
) -> str | None:
    """Draws what a task has to show of a score.

    An own task's figure that fails is told in a `Notice`: the numbers are there already.

    Args:
        folder: where the picture is to be.
        name: of its file.
        task: whose statistics the score holds.
        score: of all samples of a split.
        title: what stands above.

    Returns:
        The file's URI; None if there is nothing to draw.
    """
    try:
        figure = task.figure(score.statistics, title)
        if figure is None:
            return None
        folder.write(name, as_png(figure))
    except Exception as error:  # noqa: BLE001  # of the user's code
        what = f"{type(task).__name__}.figure failed: {type(error).__name__}: {error}"
        warnings.warn(what, Notice, stacklevel=2)
        return None
    return (folder / name).uri
