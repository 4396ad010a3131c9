"""The spec in a run's folder: written down, read back, and compared with a resumed run's."""

import sys
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import yaml

from raydl import options
from raydl.core.errors import SpecError
from raydl.data.dataset import Dataset
from raydl.spec import Run
from raydl.storage import Folder

_PACKAGES = ("raydl", "ray", "torch", "numpy")
BESIDE = ("versions", "sample")  # what run.yaml holds beside the spec
# What a run may be taken up with, changed: its numbers do not depend on it.
FREE = {"rounds", "epochs", "storage", "name", "checkpoint.every", "checkpoint.keep"}


def stored_settings(folder: Folder, run: Run, resume: bool) -> dict[str, Any] | None:
    """The settings of the run to take up; None for a new one, whose name must be free."""
    there = folder.has("run.yaml")
    if there and not resume:
        raise SpecError(
            f"there is a run named {run.name!r} in {run.storage!r} already; choose another --name, "
            f"or go on with it: raydl run --resume {folder.uri}"
        )
    if resume and not there:
        raise SpecError(f"there is no run to resume at {folder.uri!r}: it has no run.yaml")
    return read_settings(folder) if there else None


def read_settings(folder: Folder) -> dict[str, Any]:
    """The spec in a run's folder, without what else ``run.yaml`` says."""
    settings = options.from_yaml(folder.read("run.yaml").decode(), f"{folder.uri}/run.yaml")
    for each in BESIDE:
        settings.pop(each, None)
    return settings


def described(run: Run, dataset: Dataset | None = None) -> str:
    """The spec as ``run.yaml`` holds it, with the versions of what it runs on.

    Args:
        run: the spec.
        dataset: whose samples' shape and classes are noted, which the model is made for.
    """
    beside = {
        "versions": {name: version(name) for name in _PACKAGES} | {"python": sys.version.split()[0]}
    }
    if dataset is not None:
        beside["sample"] = {"shape": list(dataset.shape), "classes": dataset.classes}
    return yaml.safe_dump(options.to_mapping(run) | beside, sort_keys=False)


def check_same(run: Run, stored: Mapping[str, Any]) -> None:
    """Raises a SpecError that lists in what a run differs from the one it is to go on with."""

    def relevant(settings: Mapping[str, Any]) -> dict[str, Any]:
        flat = options.flatten({key: each for key, each in settings.items() if key != "runtime"})
        kept = {key: each for key, each in flat.items() if key not in FREE}
        runtime = options.from_mapping({"runtime": settings["runtime"]}).runtime.arithmetic()
        return kept | {f"runtime.{key}": each for key, each in runtime.items()}

    was, now = relevant(stored), relevant(options.to_mapping(run))
    if changed := options.differences(was, now):
        raise SpecError(
            "a run can only be resumed with the spec that it began with; these differ:\n"
            + "\n".join(changed)
            + "\nleave them out, or begin a new run with another --name"
        )
