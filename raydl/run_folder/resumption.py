"""The spec in a run's folder: written down, read back, and compared with a resumed run's."""

import re
import shlex
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version
from typing import Any, Literal

import yaml

from raydl.config import options
from raydl.config.choices import CHOICES
from raydl.config.run import Run
from raydl.core.errors import SpecError
from raydl.data.dataset import Dataset, SampleShape
from raydl.run_folder.sample import Sample, shape_of
from raydl.storage import Folder, find_folder

_PACKAGES = ("raydl", "ray", "torch", "numpy")
BESIDE = ("versions", "sample")  # what run.yaml holds beside the spec
# What a run may be taken up with, changed: its numbers do not depend on it.
CHANGEABLE_ON_RESUME = {
    "rounds",
    "epochs",
    "storage",
    "name",
    "checkpoint.every",
    "checkpoint.keep",
    "stop.patience",
    "log",
}

_ONCE_OPEN = {"clients": 100, "evaluation.every": 1}


def stored_settings(
    folder: Folder, run: Run, *, resume: bool | Literal["auto"]
) -> dict[str, Any] | None:
    """The settings of the run to take up; None for a new one, whose name must be free."""
    there = folder.has("run.yaml")
    if there and not resume:
        raise SpecError(
            f"there is a run named {run.name!r} in {run.storage!r} already; choose another --name, "
            f"or go on with it: {how_to_resume(folder, read_settings(folder))}"
        )
    if resume is True and not there:
        raise SpecError(f"there is no run to resume at {folder.uri!r}: it has no run.yaml")
    return read_settings(folder) if there else None


def find_run(named: str, storage: str | None = None) -> Folder:
    """The folder of a run that is named by its folder, or by its name in the storage.

    Raises:
        SpecError: if there is none.
    """
    inside = None if storage is None else str(storage)
    return find_folder("run", str(named), inside, "run.yaml")


def read_settings(folder: Folder) -> dict[str, Any]:
    """The spec in a run's folder, without what else ``run.yaml`` says."""
    settings = _read_yaml(folder)
    for each in BESIDE:
        settings.pop(each, None)
    return settings


def read_sample(folder: Folder) -> Sample:
    """What the model of the run in a folder was trained on.

    Raises:
        SpecError: if the run is of a raydl that did not write all of it down.
    """
    try:
        return Sample.from_mapping(_described(folder))
    except KeyError as error:
        raise SpecError(
            f"{folder.uri}/run.yaml does not say the {error.args[0]} of the run's samples, as an "
            "older raydl left it, so that others cannot be brought to their scale; take the model "
            "by raydl.load, or go on with the run for a round, which writes it down: raydl run "
            f"--resume {folder.uri} --rounds N"
        ) from None


def read_shape(folder: Folder) -> tuple[SampleShape, int]:
    """The shape of the samples that a run's model is made for, and how many outputs it has.

    Raises:
        SpecError: if the run is of a raydl that did not write them down.
    """
    return shape_of(_described(folder))


def _described(folder: Folder) -> dict[str, Any]:
    """What ``run.yaml`` says of the samples."""
    described: dict[str, Any] | None = _read_yaml(folder).get("sample")
    if described is None:
        raise SpecError(
            f"{folder.uri}/run.yaml does not say what its samples are like, as an older raydl left "
            "it; go on with the run for a round, which writes it down: raydl run --resume "
            f"{folder.uri} --rounds N"
        )
    return described


def _read_yaml(folder: Folder) -> dict[str, Any]:
    return options.from_yaml(folder.read("run.yaml").decode(), f"{folder.uri}/run.yaml")


def run_yaml(run: Run, dataset: Dataset | None = None) -> str:
    """The spec as ``run.yaml`` holds it, with the versions of what it runs on.

    Args:
        run: the spec.
        dataset: whose samples are described, which the model is made for.
    """
    beside: dict[str, Any] = {
        "versions": {name: version(name) for name in _PACKAGES} | {"python": sys.version.split()[0]}
    }
    if dataset is not None:
        assert run.task is not None  # it is resolved
        beside["sample"] = Sample.of(dataset, run.task).to_mapping()
    text: str = yaml.safe_dump(options.to_mapping(run) | beside, sort_keys=False)
    return text


def check_same(run: Run, stored: Mapping[str, Any]) -> None:
    """Raises a SpecError that lists in what a run differs from the one it is to go on with."""

    def relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
        flat = options.flatten({key: each for key, each in settings.items() if key != "runtime"})
        kept = {key: each for key, each in flat.items() if key not in CHANGEABLE_ON_RESUME}
        runtime = options.from_mapping({"runtime": settings["runtime"]}).runtime.numeric_fields()
        return kept | {f"runtime.{key}": each for key, each in runtime.items()}

    was, now = relevant(stored), relevant(options.to_mapping(run))
    # Runs of before this was written down left open what they took by default.
    was |= {
        key: usual
        for key, usual in _ONCE_OPEN.items()
        if was.get(key) is None and now.get(key) is not None
    }
    if was.pop("task", None) is None and "task.name" not in was:
        now = {key: each for key, each in now.items() if key.partition(".")[0] != "task"}
    if changed := options.differences(was, now):
        raise SpecError(
            "a run can only be resumed with the spec that it began with; these differ:\n"
            + "\n".join(changed)
            + "\nleave them out, or begin a new run with another --name"
        )


def how_to_resume(folder: Folder, settings: Mapping[str, Any]) -> str:
    """What goes on with a run: a command, or where no command can name its parts a call in Python.

    Args:
        folder: folder of the run.
        settings: as its ``run.yaml`` holds them.
    """
    try:
        options.from_mapping(settings)
        named = not only_in_python(settings)
    except SpecError:
        named = False
    if named:
        return f"raydl run --resume {shlex.quote(folder.uri)}"
    return "raydl.run(spec, resume=True) in Python, with the spec that it began with"


def only_in_python(settings: Mapping[str, Any]) -> bool:
    """Whether a run holds what no word can name: tensors, what a script made, a model's functions.

    Objects that are told by what they are stand in <>.

    Args:
        settings: as its ``run.yaml`` holds them.
    """
    flat = options.flatten(settings)
    names = [flat.get(field, flat.get(f"{field}.name")) for field in CHOICES]
    own = any(re.match(r"__main__:|.*<", name) for name in names if isinstance(name, str))
    values = {field: each if isinstance(each, list) else [each] for field, each in flat.items()}
    return own or any(
        str(value).startswith(("sha256:", "<"))
        or (field.startswith("model.") and field != "model.name" and _names_function(value))
        for field, each in values.items()
        for value in each
    )


def _names_function(value: Any) -> bool:
    """Whether an option was a function or a class, which is told by its name."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][\w.]*:[\w.<>]+", value):
        return False
    module, _, name = value.partition(":")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return "<" in name
    return callable(found)


@contextmanager
def remove_if_nothing_is_done(folder: Folder, run: Run) -> Iterator[None]:
    """Takes the folder of a run that fails away, unless it holds a round to go on from.

    If it does, the error is given a note that says how to go on.
    """
    try:
        yield
    except BaseException as error:
        try:
            done = folder.has("metrics.parquet") or bool((folder / "checkpoints").names())
            if not done:
                _remove(folder)
        except (SpecError, OSError):  # the storage is what failed
            done = True
        if done:
            error.add_note(f"go on with: {how_to_resume(folder, options.to_mapping(run))}")
        raise


def _remove(folder: Folder) -> None:
    """Takes away what a run without a round has written."""
    for name in folder.names():
        if name in ("run.yaml", "checkpoints", "best", "start", "wandb") or ".tfevents." in name:
            folder.remove(name)
    above = Folder(folder.parent)
    if above.has(folder.name) and not folder.names():
        above.remove(folder.name)
