"""The stages of a trial whose settings changed on its way.

Population based training lets a trial go on from another's checkpoint with new settings. So what a
trial came to is what a schedule of settings did: its stages. Each of them is a run in a folder of
its own, ``trials/NNNN``, ``trials/NNNN-1`` and so on, that begins with the rows and the checkpoint
of what it goes on from, and is resumed as any run is. ``stages.json`` says with what settings it
came that far; it is written last, and a folder after the first is there only with it.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from raydl import Run
from raydl.run_folder import checkpoint
from raydl.run_folder.resumption import run_yaml
from raydl.storage import Folder
from tuning.sweep.space import Settings

FILE = "stages.json"


class Stage(NamedTuple):
    """Settings, and the round after which they count."""

    round: int
    settings: Settings


def newest(home: Folder) -> Folder:
    """The folder of the stage that a trial is in.

    Args:
        home: of its first stage.
    """
    beside, numbers = Folder(home.parent), _numbers(home)
    return next((place for n in numbers if (place := beside / f"{home.name}-{n}").has(FILE)), home)


def read(place: Folder, settings: Mapping[str, Any]) -> list[Stage]:
    """The stages that led to the run in a folder; one of the given settings if it is the first."""
    if not place.has(FILE):
        return [Stage(0, dict(settings))]
    return [Stage(*each) for each in json.loads(place.read(FILE))]


def fork(source: Folder, home: Folder, run: Run, stages: Sequence[Stage]) -> Folder:
    """Begins a trial's next stage, for ``raydl.run`` to resume.

    Args:
        source: of the run or the copy that it goes on from, with a checkpoint of the round at
            which the last of the stages begins.
        home: of the trial's first stage.
        run: with the settings of the last stage; its model is named.
        stages: the trial's, as they are from now on.
    """
    name = f"{home.name}-{max(_numbers(home), default=0) + 1}"
    place = Folder(home.parent) / name
    copy(source, place)
    place.write("run.yaml", run_yaml(run).encode())
    place.write(FILE, json.dumps(stages).encode())
    return place


def copy(source: Folder, to: Folder) -> None:
    """Copies what a run goes on from: its newest checkpoint, its rows, its best parameters."""
    saved = checkpoint.newest(source)
    assert saved is not None  # it is written before a trial tells of its score
    checkpoint.save(to, saved, keep=1)
    for name in ("metrics.parquet", *(f"best/{each}" for each in (source / "best").names())):
        to.write(name, source.read(name))


def _numbers(home: Folder) -> list[int]:
    """Of the folders of the later stages, half-written ones included, the newest first."""
    names = Folder(home.parent).names()
    ends = [
        each.removeprefix(f"{home.name}-") for each in names if each.startswith(f"{home.name}-")
    ]
    return sorted(map(int, filter(str.isdecimal, ends)), reverse=True)
