"""``raydl sweep``: a search space, searched, from the command line."""

import sys
from collections.abc import Mapping
from dataclasses import fields
from shlex import quote
from typing import Any

from jsonargparse import ArgumentParser
from rich.console import Console

from raydl import SpecError
from raydl.config import options
from raydl.config.parser import parsing
from raydl.core.errors import require, unknown
from raydl.runtimes.ray_cluster.liveness import exiting
from raydl.runtimes.runtime import ClusterError
from raydl.signals import Interrupted
from raydl.storage import Folder, find_folder
from tuning.sweep import SPEC, SweepConfig, sweep


def main(argv: list[str]) -> int:
    """Does a sweep; 1 if it has no best setting or Ray died, 128 + signal if interrupted.

    Raises:
        SpecError: for a user's mistake.
    """
    try:
        return _sweep(argv)
    except Interrupted as stopped:
        how = f"raydl sweep --resume {quote(stopped.path)}"
        print(f"{stopped}\ngo on with: {how}", file=sys.stderr)
        return stopped.code


def _sweep(argv: list[str]) -> int:
    parser = ArgumentParser(prog="raydl sweep", exit_on_error=False)
    for name in ("config", "resume", "storage"):
        parser.add_argument(f"--{name}", type=str)
    parser.add_class_arguments(SweepConfig, None)
    with parsing("raydl sweep"):
        given = vars(parser.parse_args(argv, defaults=False))
    config, resumed, storage = (given.pop(key, None) for key in ("config", "resume", "storage"))
    if (config is None) == (resumed is None):
        raise SpecError(
            "name a sweep by --config SPACE.yaml, or by --resume NAME one to go on with"
        )
    file = options.from_config(config) if resumed is None else _read_spec(resumed, storage)
    run, space = (_mapping(file, key, config or SPEC) for key in ("run", "space"))
    run = {"runtime": "sequential"} | run
    if storage is not None and resumed is None:
        run["storage"] = storage
    allowed = {field.name for field in fields(SweepConfig)}
    for key in file:
        if key not in allowed:
            raise unknown("field", key, allowed | {"run", "space"})
    with parsing("raydl sweep"):
        parsed = vars(parser.parse_object(file | given))
    plan = SweepConfig(**{key: parsed[key] for key in allowed})
    base, console = options.from_mapping(run), Console()
    place = (Folder(base.storage) / plan.name).uri

    def fail(error: ClusterError) -> None:
        how = f"raydl sweep --resume {quote(place)}"
        print(f"raydl: {error}; go on with: {how}", file=sys.stderr)

    try:
        with exiting(fail):
            outcome = sweep(base, space, plan, resume=resumed is not None, console=console)
    except ClusterError as error:
        fail(error)
        return 1
    console.print(
        f"\nthe sweep is in     {outcome.path}\nread                {outcome.path}/report.md\n"
        f"look at it with     tensorboard --logdir {outcome.path}/trials",
        highlight=False,
        soft_wrap=True,
    )
    return 0 if outcome.best else 1


def _read_spec(named: str, storage: str | None) -> dict[str, Any]:
    """The spec of the sweep that is named by its folder, or by its name in the storage."""
    folder = find_folder("sweep", named, storage, SPEC)
    file = options.from_yaml(folder.read(SPEC).decode(), f"{folder.uri}/{SPEC}")
    return file | {"run": file["run"] | {"storage": folder.parent}, "name": folder.name}


def _mapping(file: dict[str, Any], key: str, origin: str) -> dict[str, Any]:
    """Takes a mapping from the file's fields."""
    found = file.pop(key, {} if key == "run" else None)
    require(isinstance(found, Mapping), f"{key} in {origin}", found, "a mapping of fields")
    return dict(found)
