"""raydl: distributed and federated learning on Ray.

An algorithm is a value; where it runs is somebody else's business. ``raydl.run(Run(...))`` does a
whole run, and ``raydl.load(RUN)`` gives the model of one; ``raydl.rounds`` is the loop under it,
which needs no Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from raydl.core.errors import SpecError

if TYPE_CHECKING:
    from raydl.course import History
    from raydl.loading import load
    from raydl.spec import Checkpointing, Evaluation, Model, Run
    from raydl.training import run

__version__ = "0.1.0"
__all__ = ["Checkpointing", "Evaluation", "History", "Model", "Run", "SpecError", "load", "run"]

_HOMES = {"History": "course", "run": "training", "load": "loading"}


def __getattr__(name: str) -> Any:
    """Imports torch and Ray only when something that needs them is asked for."""
    if name in __all__:
        return getattr(import_module(f"raydl.{_HOMES.get(name, 'spec')}"), name)
    raise AttributeError(f"module 'raydl' has no attribute {name!r}")
