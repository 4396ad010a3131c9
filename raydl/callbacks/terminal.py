"""What a person sees of a run in a terminal, and what a log has of it without one."""

import threading
from time import monotonic
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live as Region
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from raydl.callbacks.callback import Callback
from raydl.callbacks.course import Course
from raydl.config.run import Run
from raydl.core.environment.stages import RunStage
from raydl.run_folder.record import Row
from raydl.run_folder.results.wording import duration
from raydl.runtimes.problem import Problem
from raydl.storage import Folder

if TYPE_CHECKING:
    from raydl.training_loop import History

_SILENCE = 15.0  # seconds without a line in a log, at most
_TENTHS = 10  # lines of a run whose rounds are short


class Live(Callback):
    """What a run is, what it is at, and how well it does: in a terminal two lines that change.

    Without a terminal, plain lines: for each stage, for each tenth of the run, and every 15 seconds
    at the least. Use it as a context manager around `raydl.run`.

    Attributes:
        path: path of the run's folder, once it has begun.
    """

    def __init__(self, console: Console, silence: float = _SILENCE) -> None:
        self._console, self._silence = console, silence
        self._course, self._lock = Course(), threading.RLock()
        self._spinner = Spinner("dots")
        self._region = Region(
            console=console, get_renderable=self._render, transient=True, refresh_per_second=8
        )
        self._printed, self._said = -1, monotonic()
        self._stopped = threading.Event()
        self._clock = threading.Thread(target=self._break_silence, daemon=True)

    @property
    def path(self) -> str:
        """Path of the run's folder, once it has begun."""
        return self._course.path

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._region.start()
        else:
            self._clock.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Shows nothing that changes any more, so that other things can be printed."""
        self._stopped.set()
        if self._console.is_terminal:
            self._region.stop()

    def on_stage(self, stage: RunStage) -> None:
        """Says what is being done."""
        with self._lock:
            self._course.enter(stage)
            if not self._console.is_terminal:
                self._print(f"{stage} ...")

    def on_runtime(self, reason: str) -> None:
        """Says why the runtime is the one."""
        self._print(f"runtime chosen by measuring: {reason}")

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Says what is trained, on what, by whom, where."""
        with self._lock:
            self._course.start(run, problem, folder)
            self._print(self._course.heading)

    def on_round(self, row: Row) -> None:
        """Says how it goes: in a terminal at once, in a log where it is time."""
        with self._lock:
            self._course.add(row)
            if not self._console.is_terminal:
                tenth = int(_TENTHS * self._course.share)
                if tenth > self._printed or monotonic() - self._said >= self._silence:
                    self._printed = max(tenth, self._printed)
                    self._print(self._line())

    def on_end(self, history: "History") -> None:
        """Shows nothing any more."""
        self.stop()

    def on_error(self, error: BaseException) -> None:
        """Shows nothing any more."""
        self.stop()

    def _line(self) -> str:
        course = self._course
        return "  ".join(filter(None, [course.position, *course.figures, course.left]))

    def _print(self, text: str) -> None:
        self._said = monotonic()
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def _break_silence(self) -> None:
        """Says in a log that it still goes on."""
        while not self._stopped.wait(min(1.0, self._silence / 4)):
            with self._lock:
                if monotonic() - self._said >= self._silence and not self._stopped.is_set():
                    self._print(self._waiting())

    def _waiting(self) -> str:
        course = self._course
        at = duration(monotonic() - course.since)
        if course.stage is not None:
            return f"{course.stage} ... for {at}"
        return f"round {course.rounds + 1} ... for {at}" + (
            f"  {course.left}" if course.left else ""
        )

    def _render(self) -> RenderableType:
        with self._lock:
            course = self._course
            at = monotonic() - course.since
            name = str(course.stage or "the first round")
            self._spinner.update(text=Text(f"{name} ... {duration(at)}"))
            if not course.figures:
                return self._spinner
            row = Table.grid(padding=(0, 2))
            row.add_row(
                Text(course.position, style="bold"),
                ProgressBar(total=1, completed=course.share, width=30),
                Text(f"{course.share:.0%}"),
                Text(course.left),
            )
            lines: list[RenderableType] = [row, Text(" · ".join(course.figures))]
            return Group(*lines, *([self._spinner] if course.stage is not None else []))
