"""Callbacks: who is told how a run goes on.

callback     what one is told; several of them, functions
course       what is known of a run at any moment, in words
terminal     two lines that change, or the lines of a log
notebook     a cell's output that changes
display      the one of these that suits where the process runs
logger       what loggers have in common
csv          a logger, as the following are
tensorboard
mlflow
wandb
loggers      those that a run names
"""

from typing import TYPE_CHECKING

from raydl.core.lazy import lazily

if TYPE_CHECKING:
    from raydl.callbacks.callback import Callback
    from raydl.callbacks.csv import CSV
    from raydl.callbacks.mlflow import MLflow
    from raydl.callbacks.notebook import Notebook
    from raydl.callbacks.tensorboard import TensorBoard
    from raydl.callbacks.terminal import Live
    from raydl.callbacks.wandb import WandB
    from raydl.core.stages import RunStage

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
        "callbacks.csv": ("CSV",),
        "callbacks.mlflow": ("MLflow",),
        "callbacks.notebook": ("Notebook",),
        "callbacks.tensorboard": ("TensorBoard",),
        "callbacks.terminal": ("Live",),
        "callbacks.wandb": ("WandB",),
        "core.stages": ("RunStage",),
    },
)
