"""Single runs, as studies and sweeps begin them and go on with them."""

from typing import Any, TypeAlias

import raydl
from raydl import History, Run
from raydl.data import Dataset
from raydl.storage import Folder
from raydl.training import Observer

Row: TypeAlias = dict[str, Any]  # of a table of runs


def take_up(run: Run, observer: Observer | None = None, dataset: Dataset | None = None) -> History:
    """The history of a run that has a name: begun, gone on with, or read back if it is finished."""
    there = (Folder(run.storage) / str(run.name)).has("run.yaml")
    return raydl.run(run, resume=there, observer=observer, dataset=dataset)
