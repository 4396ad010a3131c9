"""One trial: a run that tells Ray Tune of its scores, in the process that Tune gives it.

A trial loads the data set itself, from files that the machine's page cache holds after the first:
a run's source then means the same in a trial as anywhere else. The processes of the trials are
taken over by the ones that follow.
"""

import json

from ray import tune

import raydl
from raydl import Run
from raydl.record import Row, read_rows
from raydl.rounds import NonFiniteError
from raydl.storage import Folder
from raydl.training import Observer
from tuning.sweep.plan import METRIC
from tuning.sweep.space import Settings, Space

SCORES = ("val_accuracy", "val_loss")
TOTALS = ("round", "epochs", "samples", "local_steps", "messages", "bytes_down", "bytes_up")
REPORTED = (*SCORES, *TOTALS, "wall_seconds")
OUTCOME = "outcome.json"  # of a trial that did not finish, with the reason


def do(space: Space, settings: Settings, place: Folder, ended: bool) -> None:
    """Does a trial, or goes on with it; what goes wrong is written down in its folder.

    Args:
        space: of the settings.
        settings: of this trial.
        place: its folder.
        ended: whether it has its outcome: then it only tells its scores again.
    """
    report = _Report()
    for row in read_rows(place):
        report.row(row)
    if ended:
        return
    try:
        report.run = run = space.at({**settings, "storage": place.parent, "name": place.name})
        raydl.run(run, resume=place.has("run.yaml"), observer=report)
    except NonFiniteError as error:
        _end(place, "diverged", error)
    except Exception as error:  # whatever it is, the other trials go on
        _end(place, "failed", error)
    else:
        report.row(read_rows(place)[-1])


def _end(place: Folder, outcome: str, error: Exception) -> None:
    reason = str(error) if isinstance(error, NonFiniteError) else f"{type(error).__name__}: {error}"
    place.write(OUTCOME, json.dumps({"outcome": outcome, "reason": reason}).encode())


class _Report(Observer):
    """Tells Tune of a run's scored rounds, each of them once.

    Of the last one only when the run is written down: the scheduler may end the trial on hearing.
    """

    def __init__(self) -> None:
        self.run: Run | None = None
        self._told = 0

    def rounded(self, row: Row) -> None:
        if self.run is None or not self.run.over(int(row["round"] or 0), row["epochs"] or 0.0):
            self.row(row)

    def row(self, row: Row) -> None:
        """Tells of a round, if it is scored and new."""
        if row[METRIC] is not None and (row["round"] or 0) > self._told:
            self._told = int(row["round"] or 0)
            tune.report({name: row[name] for name in REPORTED})
