"""The loggers by the words of ``--log``."""

from importlib import import_module

from raydl.callbacks.loggers.logger import Logger
from raydl.config.run import Run

_CLASSES = {"csv": "CSV", "tensorboard": "TensorBoard", "mlflow": "MLflow", "wandb": "WandB"}


def loggers(run: Run) -> list[Logger]:
    """Those that a run names.

    Raises:
        SpecError: if a package is missing.
    """
    classes = ((import_module(f"raydl.callbacks.loggers.{each}"), each) for each in run.loggers)
    return [getattr(module, _CLASSES[word])() for module, word in classes]
