"""Waiting in tests: for events, and in time-outs that are as long as this machine is slow."""

import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

PATIENCE = 400  # seconds for what takes a few on an idle machine: only a failure waits so long
_START = 0.03  # seconds that a process of Python takes to start and end on an idle machine


def until(condition: Callable[[], bool]) -> None:
    """Waits for a condition to hold."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE} s"
        time.sleep(0.02)


def scaled(seconds: float) -> float:
    """Seconds of an idle machine in those of this one now, never fewer."""
    return seconds * max(1.0, median(_start() for _ in range(5)) / _START)


def _start() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-I", "-S", "-c", "pass"], check=True)
    return time.monotonic() - began
