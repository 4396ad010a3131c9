"""raydl: distributed and federated learning on Ray.

An algorithm is a value; where it runs is somebody else's business. ``raydl.run(Run(...))`` does a
whole run, ``raydl.load(RUN)`` gives the model of one, and ``raydl.predict(RUN, inputs)`` what it
says of samples; ``raydl.rounds`` is the loop under it, which needs no Ray.
"""

from typing import TYPE_CHECKING

from raydl.core.environment.lazy import lazily
from raydl.core.errors import SpecError

if TYPE_CHECKING:
    from raydl.callbacks.callback import Callback
    from raydl.config.run import Checkpointing, Evaluation, Model, Run, Stopping
    from raydl.round import Round, rounds
    from raydl.run_folder.model import load
    from raydl.run_folder.prediction import predict
    from raydl.training import run
    from raydl.training_loop import History

__version__ = "0.1.0"
__all__ = [
    "Callback",
    "Checkpointing",
    "Evaluation",
    "History",
    "Model",
    "Round",
    "Run",
    "SpecError",
    "Stopping",
    "load",
    "predict",
    "rounds",
    "run",
]

__getattr__, __dir__ = lazily(
    __name__,
    {
        "callbacks.callback": ("Callback",),
        "config.run": ("Checkpointing", "Evaluation", "Model", "Run", "Stopping"),
        "round": ("Round", "rounds"),
        "run_folder.model": ("load",),
        "run_folder.prediction": ("predict",),
        "training": ("run",),
        "training_loop": ("History",),
    },
    ["SpecError"],
)
