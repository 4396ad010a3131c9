"""raydl: distributed and federated learning on Ray.

An algorithm is a value; where it runs is somebody else's business. ``raydl.run(Run(...))`` does a
whole run; ``raydl.rounds`` is the loop under it, which needs no Ray.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from raydl.run import History, Run, run

__version__ = "0.1.0"
__all__ = ["History", "Run", "SpecError", "run"]

from raydl.core.errors import SpecError


def __getattr__(name: str) -> Any:
    """Imports torch and Ray only when something that needs them is asked for."""
    if name in __all__:
        return getattr(import_module("raydl.run"), name)
    raise AttributeError(f"module 'raydl' has no attribute {name!r}")
