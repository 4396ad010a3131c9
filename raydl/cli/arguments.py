"""What commands make of the words that they are given."""

from raydl.config import options
from raydl.config.run import Run
from raydl.core.errors import SpecError
from raydl.run_folder.resumption import BESIDE, how_to_resume, only_in_python, read_settings
from raydl.storage import Folder, find_folder


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
    folder = run_folder(resumed, storage)
    settings = read_settings(folder)
    if only_in_python(settings):
        raise SpecError(
            f"run {resumed!r} holds tensors, functions or classes that no option can name; go on "
            f"with it by {how_to_resume(folder, settings)}"
        )
    settings |= {"storage": folder.parent, "name": folder.name}
    return options.parse(argv, settings), True


def run_folder(named: str, storage: str | None) -> Folder:
    """The folder of a run that is named by its folder, or by its name in the storage."""
    return find_folder("run", named, storage, "run.yaml")
