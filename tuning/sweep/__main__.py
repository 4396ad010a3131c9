"""Runs ``python -m tuning.sweep --config SPACE.yaml``.

The file holds ``run``, the settings of a run as ``raydl run --config`` takes them; ``space``, the
distributions of the fields that are swept; and the fields of the plan, which options change:

    run: {data: Digits, rounds: 20, runtime: sequential}
    space:
      algorithm.lr: {loguniform: [0.01, 1.0]}
      algorithm.epochs: {choice: [1, 5]}
    trials: 16
    scheduler: asha

``--resume NAME`` goes on with a sweep after any interruption. A trial trains in one process
(sequential) if the run names no runtime.
"""

import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from shlex import quote
from typing import Any, NoReturn

from jsonargparse import ArgumentError, ArgumentParser
from rich.console import Console

from raydl import SpecError, options
from raydl.core.errors import require, unknown
from raydl.interrupt import Interrupted
from raydl.runtimes.runtime import ClusterError
from raydl.runtimes.watch import exiting
from raydl.storage import Folder, found
from tuning.sweep import SPEC, Plan, sweep


def main(argv: list[str] | None = None) -> NoReturn:
    """Does a sweep and exits.

    With 0 if done, 1 if it has no best setting or Ray died, 2 for a user's mistake, 128 + signal if
    interrupted.
    """
    parser = ArgumentParser(prog="python -m tuning.sweep", description=__doc__, exit_on_error=False)
    parser.add_argument("--config", type=str, help="YAML file of a sweep")
    parser.add_argument("--resume", type=str, help="name or folder of a sweep to go on with")
    parser.add_argument(
        "--storage", type=str, help="folder of the sweeps' folders; runs by default"
    )
    parser.add_class_arguments(Plan, None)
    try:
        outcome = _sweep(parser, sys.argv[1:] if argv is None else argv)
    except SpecError as error:
        print(f"tuning.sweep: {error}", file=sys.stderr)
        sys.exit(2)
    except Interrupted as stopped:
        print(f"{stopped}\ngo on with: {parser.prog} --resume {stopped.path}", file=sys.stderr)
        sys.exit(stopped.code)
    sys.exit(outcome)


def _sweep(parser: ArgumentParser, argv: list[str]) -> int:
    try:
        given = vars(parser.parse_args(argv, defaults=False))
    except ArgumentError as error:
        raise SpecError(options.reworded(str(error), parser.prog)) from None
    config, resumed, storage = (given.pop(key, None) for key in ("config", "resume", "storage"))
    if (config is None) == (resumed is None):
        raise SpecError(
            "name a sweep by --config SPACE.yaml, or by --resume NAME one to go on with"
        )
    file = _read(config) if resumed is None else _resumed(resumed, storage)
    run, space = (_mapping(file, key, config or SPEC) for key in ("run", "space"))
    run = {"runtime": "sequential"} | run
    if storage is not None and resumed is None:
        run["storage"] = storage
    allowed = {field.name for field in fields(Plan)}
    for key in file:
        if key not in allowed:
            raise unknown("field", key, allowed | {"run", "space"})
    try:
        parsed = vars(parser.parse_object(file | given))
    except ArgumentError as error:
        raise SpecError(options.reworded(str(error), parser.prog)) from None
    plan = Plan(**{key: parsed[key] for key in allowed})
    base, console = options.from_mapping(run), Console()
    place = (Folder(base.storage) / plan.name).uri

    def fail(error: ClusterError) -> None:
        further = f"go on with: {parser.prog} --resume {quote(place)}"
        print(f"tuning.sweep: {error}; {further}", file=sys.stderr)

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


def _read(config: str) -> dict[str, Any]:
    try:
        return options.from_yaml(Path(config).read_text(), config)
    except OSError as error:
        raise SpecError(f"--config {config!r} cannot be read: {error.strerror}") from error


def _resumed(named: str, storage: str | None) -> dict[str, Any]:
    """The spec of the sweep that is named by its folder, or by its name in the storage."""
    folder = found("sweep", named, storage, SPEC)
    file = options.from_yaml(folder.read(SPEC).decode(), f"{folder.uri}/{SPEC}")
    return file | {"run": file["run"] | {"storage": folder.parent}, "name": folder.name}


def _mapping(file: dict[str, Any], key: str, origin: str) -> dict[str, Any]:
    """Takes a mapping from the file's fields."""
    found = file.pop(key, {} if key == "run" else None)
    require(isinstance(found, Mapping), f"{key} in {origin}", found, "a mapping of fields")
    return dict(found)


if __name__ == "__main__":
    main()
