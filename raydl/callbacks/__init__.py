"""Callbacks: who is told how a run goes on.

callback  what one is told; several of them, functions
course    what is known of a run at any moment, in words
terminal  two lines that change, or the lines of a log
notebook  a cell's output that changes
display   the one of these that suits where the process runs
"""

from typing import TYPE_CHECKING

from raydl.core.lazy import lazily

if TYPE_CHECKING:
    from raydl.callbacks.callback import Callback
    from raydl.callbacks.notebook import Notebook
    from raydl.callbacks.terminal import Live
    from raydl.core.stages import RunStage

__all__ = ["Callback", "Live", "Notebook", "RunStage"]

__getattr__, __dir__ = lazily(
    "raydl",
    {
        "callbacks.callback": ("Callback",),
        "callbacks.notebook": ("Notebook",),
        "callbacks.terminal": ("Live",),
        "core.stages": ("RunStage",),
    },
)
