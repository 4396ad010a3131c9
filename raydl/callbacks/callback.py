"""Callbacks: who is told how a run goes on."""

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from raydl.config.run import Run
from raydl.core.environment.stages import RunStage
from raydl.core.errors import Notice, SpecError, brief
from raydl.run_folder.record import Row
from raydl.runtimes.problem import Problem
from raydl.storage import Folder

if TYPE_CHECKING:
    from raydl.training_loop import History


class Callback:
    """Is told how a run goes on, in the process that asked for it; this one does not care.

    One that raises an error in ``on_round`` ends the run in order: the round in hand is finished
    and written down, and the error is raised to who asked for the run.

    Example:
        >>> import raydl
        >>> class Losses(raydl.Callback):
        ...     def on_round(self, row):
        ...         print(row["round"], "train_loss" in row)
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as runs:
        ...     run = raydl.Run(rounds=2, clients=10, runtime="sequential", storage=runs)
        ...     history = raydl.run(run, callback=Losses())
        1 True
        2 True
    """

    def on_stage(self, stage: RunStage) -> None:
        """Something other than a round has begun, such as to start Ray or to score the test set."""

    def on_runtime(self, reason: str) -> None:
        """The runtime was chosen by measuring."""

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """The run is set up; ``run`` is as it is written to ``run.yaml``."""

    def on_round(self, row: Row) -> None:
        """A round is done and, if it was to be, scored and written down.

        After a failure a run goes back to its checkpoint: the round may have been told before.
        """

    def on_end(self, history: "History") -> None:
        """The run is done."""

    def on_error(self, error: BaseException) -> None:
        """The run, which had started, was stopped or has failed."""


CallbackLike: TypeAlias = Callback | Callable[[Row], Any]


class Several(Callback):
    """Several callbacks, each told in turn."""

    def __init__(self, members: Sequence[Callback]) -> None:
        self._members = members

    def on_stage(self, stage: RunStage) -> None:
        """Tells all of them."""
        for each in self._members:
            each.on_stage(stage)

    def on_runtime(self, reason: str) -> None:
        """Tells all of them."""
        for each in self._members:
            each.on_runtime(reason)

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Tells all of them."""
        for each in self._members:
            each.on_start(run, problem, folder)

    def on_round(self, row: Row) -> None:
        """Tells all of them, each of a row of its own."""
        for each in self._members:
            each.on_round(dict(row))

    def on_end(self, history: "History") -> None:
        """Tells all of them."""
        for each in self._members:
            each.on_end(history)

    def on_error(self, error: BaseException) -> None:
        """Tells all of them, even if one of them fails at it."""
        for each in self._members:
            try:
                each.on_error(error)
            except Exception as further:  # noqa: BLE001  # what ended the run is to be told
                if type(further) is type(error):  # such as a store that is gone
                    continue
                what = f"{type(each).__name__}: {type(further).__name__}: {further}"
                warnings.warn(f"a callback failed as the run did: {what}", Notice, stacklevel=2)


class _EachRound(Callback):
    """A function that is called with the row of each round."""

    def __init__(self, function: Callable[[Row], Any]) -> None:
        self._function = function

    def on_round(self, row: Row) -> None:
        self._function(row)


def as_callbacks(given: CallbackLike | Sequence[CallbackLike] | None) -> list[Callback]:
    """What a user gives, one or a list of callbacks and functions of a row, as callbacks.

    Raises:
        SpecError: if one of them is neither.
    """
    if given is None:
        return []
    if isinstance(given, list | tuple):
        return [callback for each in given for callback in as_callbacks(each)]
    if isinstance(given, Callback):
        return [given]
    if callable(given) and not isinstance(given, type):
        return [_EachRound(given)]
    raise SpecError(
        f"callback is {brief(given)}; it must be a raydl.Callback, a function that is called with "
        "the row of each round, or a list of these"
    )
