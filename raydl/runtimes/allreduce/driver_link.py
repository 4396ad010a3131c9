"""The actor between the driver and the processes of a group that does a run together.

It does not look into what it is given, and so does without torch, which takes seconds to import.
"""

from typing import Any


class DriverLink:
    """Messages between the leader and the driver."""

    def __init__(self) -> None:
        self._posted: list[Any] = []
        self._outcome: bytes | None = None
        self._failure: bytes | None = None
        self._asked = 0

    def post(self, message: Any) -> None:
        """Adds a message to the driver."""
        self._posted.append(message)

    def take(self) -> tuple[list[Any], bytes | None]:
        """The messages since the last time, and the error that the loop failed with."""
        taken, self._posted = self._posted, []
        return taken, self._failure

    def fail(self, error: bytes) -> None:
        """Says that the loop has failed, and with what error, pickled; the first one counts."""
        self._failure = self._failure or error

    def failed(self) -> bool:
        """Whether the loop has failed."""
        return self._failure is not None

    def end(self, outcome: bytes) -> None:
        """Says what came of the loop, pickled."""
        self._outcome = outcome

    def outcome(self) -> bytes | None:
        """Outcome of the loop, pickled; None before its end."""
        return self._outcome

    def ask(self, signal: int) -> None:
        """Asks to stop, because of a signal."""
        self._asked = signal

    def asked(self) -> int:
        """The signal to stop because of; 0 if there is none."""
        return self._asked
