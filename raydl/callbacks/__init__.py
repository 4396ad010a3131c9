"""Callbacks: who is told how a run goes on.

callback  what one is told; several of them, functions
course    what is known of a run at any moment, in words
terminal  two lines that change, or the lines of a log
notebook  a cell's output that changes
display   the one of these that suits where the process runs
loggers   who keeps a run's figures somewhere
"""

from typing import TYPE_CHECKING

from raydl.core.environment.lazy import lazily

if TYPE_CHECKING:
    from raydl.callbacks.callback import Callback
    from raydl.callbacks.loggers.csv import CSV
    from raydl.callbacks.loggers.mlflow import MLflow
    from raydl.callbacks.loggers.tensorboard import TensorBoard
    from raydl.callbacks.loggers.wandb import WandB
    from raydl.callbacks.notebook import Notebook
    from raydl.callbacks.terminal import Live
    from raydl.core.environment.stages import RunStage

__all__ = [
    "CSV",
    "Callback",
    "Live",
    "MLflow",
    "Notebook",
    "RunStage",
    "TensorBoard",
    "WandB",
]

__getattr__, __dir__ = lazily(
    "raydl",
    {
        "callbacks.callback": ("Callback",),
        "callbacks.loggers.csv": ("CSV",),
        "callbacks.loggers.mlflow": ("MLflow",),
        "callbacks.notebook": ("Notebook",),
        "callbacks.loggers.tensorboard": ("TensorBoard",),
        "callbacks.terminal": ("Live",),
        "callbacks.loggers.wandb": ("WandB",),
        "core.environment.stages": ("RunStage",),
    },
)
