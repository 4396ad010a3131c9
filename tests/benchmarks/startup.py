"""How long a newcomer waits: the command's help, and a run of one round."""

import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

_HELP = ["--help"]
_RUN = ["run", "--rounds", "1"]


def measure(repeats: int) -> dict[str, Any]:
    """Seconds of ``raydl --help``, and of a whole ``raydl run`` of one round.

    The latter is from the command to the prompt, so an upper bound of the first round's end.

    Args:
        repeats: how often each is started, after a first time that is not counted.

    Returns:
        ``help`` and ``run``: ``seconds`` of each, and the ``median``.
    """
    with TemporaryDirectory() as storage:
        commands = {"help": _HELP, "run": [*_RUN, "--storage", storage]}
        seconds = {
            name: [_time(arguments) for _ in range(1 + repeats)][1:]
            for name, arguments in commands.items()
        }
    return {name: {"seconds": each, "median": median(each)} for name, each in seconds.items()}


def _time(arguments: list[str]) -> float:
    began = perf_counter()
    subprocess.run([sys.executable, "-m", "raydl", *arguments], check=True, capture_output=True)
    return perf_counter() - began
