"""SIGINT and SIGTERM: the round in hand is finished and written down first."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """A run was asked to stop, and did after a round.

    Attributes:
        code: the exit code that a shell expects: 128 + the signal's number.
        path: path of the run's folder.
        round: the last one done.
    """

    def __init__(self, number: int, path: str, done: int) -> None:
        super().__init__(number, path, done)
        self.code, self.path, self.round = 128 + number, path, done

    def __str__(self) -> str:
        return f"stopped after round {self.round}; the run is in {self.path}"


@dataclass
class Stop:
    """Whether a run was asked to stop, and by which signal; 0 if not."""

    signal: int = 0


@contextmanager
def stoppable() -> Iterator[Stop]:
    """Notes the first SIGINT or SIGTERM; a second one has its usual effect.

    Only the main thread can be told of signals: in any other the block runs as it is.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    usual = {int(each): signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, _frame: FrameType | None) -> None:
        stop.signal = number
        signal.signal(number, usual[number])

    for number in usual:
        signal.signal(number, note)
    try:
        yield stop
    finally:
        for number, handler in usual.items():
            signal.signal(number, handler)
