"""Stages: what a run is at before its first round, and after its last.

They are entered where the work is done, and heard by who asked for it, as warnings are: most of
that work is started from afar, by functions that have nothing to do with who looks on.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple, TypeAlias


class RunStage(NamedTuple):
    """What a run is at.

    Attributes:
        name: what is being done, such as ``starting Ray``.
        done: of how many things it is done already; None if they are not counted.
        of: how many there are.
    """

    name: str
    done: int | None = None
    of: int | None = None

    def __str__(self) -> str:
        return self.name if self.done is None else f"{self.name}: {self.done} of {self.of}"


Listener: TypeAlias = Callable[[RunStage], None]

_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


def enter(name: str, done: int | None = None, of: int | None = None) -> None:
    """Says what is being done from now on, see `RunStage`; nobody need hear it."""
    if (listener := _listener.get()) is not None:
        listener(RunStage(name, done, of))


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Has a listener told of the stages that are entered in the block, in this thread.

    Example:
        >>> heard = []
        >>> with heard_by(heard.append):
        ...     enter("starting workers", 1, 4)
        >>> enter("of no interest")
        >>> print(*heard)
        starting workers: 1 of 4
    """
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)
