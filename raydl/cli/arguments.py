"""What commands make of the words that they are given."""

from collections.abc import Collection, Sequence

from raydl.config import options
from raydl.config.run import Run
from raydl.core.errors import SpecError
from raydl.run_folder.resumption import (
    BESIDE,
    find_run,
    how_to_resume,
    only_in_python,
    read_settings,
)


def take_option(argv: list[str], option: str) -> tuple[str | None, list[str]]:
    """Parts ``option VALUE`` or ``option=VALUE`` from the rest.

    Raises:
        SpecError: if the value is missing.
    """
    for at, token in enumerate(argv):
        if token.startswith(f"{option}="):
            return token.removeprefix(f"{option}="), [*argv[:at], *argv[at + 1 :]]
        if token == option:
            if at + 1 == len(argv) or argv[at + 1].startswith("--"):
                raise SpecError(f"{option} needs a value")
            return argv[at + 1], [*argv[:at], *argv[at + 2 :]]
    return None, argv


def split_options(argv: Sequence[str], known: Collection[str]) -> tuple[list[str], list[str]]:
    """The options with these names and their values, and all others."""
    own: list[str] = []
    others: list[str] = []
    into = others
    for token in argv:
        if token.startswith("--"):
            into = own if key_of(token) in known else others
        into.append(token)
    return own, others


def key_of(token: str) -> str:
    """The name of the option that ``--name`` or ``--name=value`` gives."""
    return token.removeprefix("--").partition("=")[0]


def parse_run(argv: list[str]) -> tuple[Run, bool]:
    """The run that the options describe, and whether it is one to be resumed.

    Raises:
        SpecError: if they describe none.
    """
    config, argv = take_option(argv, "--config")
    resumed, argv = take_option(argv, "--resume")
    if resumed is None:
        # So that a run's own run.yaml will do.
        settings = options.from_config(config) if config else {}
        settings = {key: each for key, each in settings.items() if key not in BESIDE}
        return options.parse(argv, settings), False
    if config is not None:
        raise SpecError("--config and --resume exclude each other: a run goes on with its own spec")
    storage, argv = take_option(argv, "--storage")
    folder = find_run(resumed, storage)
    settings = read_settings(folder)
    if only_in_python(settings):
        raise SpecError(
            f"run {resumed!r} holds tensors, functions or classes that no option can name; go on "
            f"with it by {how_to_resume(folder, settings)}"
        )
    settings |= {"storage": folder.parent, "name": folder.name}
    return options.parse(argv, settings), True
