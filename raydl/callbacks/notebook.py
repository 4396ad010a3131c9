"""What a person sees of a run in a notebook."""

import sys
from html import escape
from importlib import import_module
from time import monotonic
from typing import TYPE_CHECKING, Any

from raydl.callbacks.callback import Callback
from raydl.callbacks.course import Course
from raydl.config.run import Run
from raydl.core.environment.stages import RunStage
from raydl.run_folder.record import Row
from raydl.runtimes.problem import Problem
from raydl.storage import Folder

if TYPE_CHECKING:
    from raydl.training_loop import History

_PAUSE = 0.2  # seconds between two changes of what is shown


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and hasattr(shell, "kernel")


class Notebook(Callback):
    """A cell's output that changes as the run goes on, and stays when it is over."""

    def __init__(self) -> None:
        self._course = Course()
        self._handle: Any = None
        self._shown, self._ended = 0.0, ""

    def on_stage(self, stage: RunStage) -> None:
        """Shows what is being done."""
        self._course.enter(stage)
        self._show(at_once=True)

    def on_start(self, run: Run, problem: Problem, folder: Folder) -> None:
        """Shows what is trained, on what, by whom, where."""
        self._course.start(run, problem, folder)
        self._show(at_once=True)

    def on_round(self, row: Row) -> None:
        """Shows how it goes."""
        self._course.add(row)
        self._show()

    def on_end(self, history: "History") -> None:
        """Leaves what was reached."""
        self._course.stage, self._ended = None, "done"
        self._show(at_once=True)

    def on_error(self, error: BaseException) -> None:
        """Leaves what was reached, and why it ended there."""
        self._course.stage, self._ended = None, f"{type(error).__name__}: {error}"
        self._show(at_once=True)

    def _show(self, *, at_once: bool = False) -> None:
        now = monotonic()
        if not at_once and now - self._shown < _PAUSE:
            return
        ipython: Any = import_module("IPython.display")  # which comes without types
        self._shown, content = now, ipython.HTML(self.html())
        if self._handle is None:
            self._handle = ipython.display(content, display_id=True)
        else:
            self._handle.update(content)

    def html(self) -> str:
        """What is shown now."""
        course, lines = self._course, []
        if course.path:
            lines.append(escape(course.heading).replace("\n", "<br>"))
        if course.figures:
            bar = f'<progress max="1" value="{course.share:.4f}"></progress>'
            where = filter(None, [f"<b>{course.position}</b>", bar, f"{course.share:.0%}"])
            lines.append(" ".join([*where, "" if self._ended else course.left]))
            lines.append(escape(" · ".join(course.figures)))
        if course.stage is not None:
            lines.append(f"<i>{escape(str(course.stage))} ...</i>")
        lines += [escape(self._ended)] if self._ended else []
        return '<div style="line-height: 1.6">' + "<br>".join(lines) + "</div>"
