"""The loggers by the words of ``--log``."""

from importlib import import_module

from raydl.callbacks.logger import Logger
from raydl.config.run import Run

_CLASSES = {"csv": "CSV", "tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}


def loggers(run: Run) -> list[Logger]:
    """Those that a run names.

    Raises:
        SpecError: if a package is missing.
    """
    return [
        getattr(import_module(f"raydl.callbacks.{word}"), _CLASSES[word])() for word in run.loggers
    ]
