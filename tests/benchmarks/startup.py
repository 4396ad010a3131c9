"""How long a newcomer waits: for the command's help, and for a run's first round."""

import subprocess
import sys
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

_RAYDL = [sys.executable, "-m", "raydl"]


def measure(repeats: int) -> dict[str, Any]:
    """Times ``raydl --help``, and ``raydl run`` until it prints its first round.

    Args:
        repeats: how often each is started, after a first time that is not counted.

    Returns:
        ``help`` and ``first_round``: ``seconds`` of each time, and the ``median``.
    """
    figures = {}
    for name, wait in (("help", _help), ("first_round", _first_round)):
        seconds = [wait() for _ in range(1 + repeats)][1:]
        figures[name] = {"seconds": seconds, "median": median(seconds)}
    return figures


def _help() -> float:
    began = perf_counter()
    subprocess.run([*_RAYDL, "--help"], check=True, stdout=subprocess.DEVNULL)
    return perf_counter() - began


def _first_round() -> float:
    began = perf_counter()
    with TemporaryDirectory() as storage:
        command = [*_RAYDL, "run", "--rounds", "1", "--storage", storage]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
            assert run.stdout is not None
            lines = ((line, perf_counter() - began) for line in run.stdout)
            seconds = [after for line, after in lines if line.startswith("round 1/")]
    assert run.returncode == 0, f"{' '.join(command)} exits with {run.returncode}"
    assert len(seconds) == 1, "the run's first round is no line of its own"
    return seconds[0]
