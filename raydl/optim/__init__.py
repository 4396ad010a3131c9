"""Optimizers: hyperparameters as a user names them, and the pure update rules that they make.

spec             OptimizerSpec: what an optimizer's hyperparameters are
rule             UpdateRule: what every optimizer does
sgd              SGD, with momentum, Nesterov momentum and weight decay
adamw            AdamW: Adam with decoupled weight decay
adaptive         Adagrad, Adam and Yogi as federated servers use them
lars             LARS: SGD with a trust ratio for each tensor; TorchLARS, for torch's own loops
lamb             LAMB: AdamW with a trust ratio for each tensor; TorchLAMB, for torch's own loops
trust            which tensors have a trust ratio
torch_optimizer  what TorchLARS and TorchLAMB share
foreach          operations on lists of tensors, in place
schedule         the rate over a run: constant, cosine, polynomial or step, each with a warm-up
scaling          the rate and the size of the batch

A class named as the paper names the method (`SGD`, `LARS`) is a spec: what an algorithm takes for
its optimizer. The same name in small letters (`sgd`, `lars`) is the rule that it makes. With
``Torch`` before it, it is a ``torch.optim.Optimizer`` of the same numbers.
"""

from typing import Annotated, TypeAlias

from raydl.core.spec import OneOf
from raydl.optim.adamw import AdamW, adamw
from raydl.optim.adaptive import Adagrad, Adam, Yogi, adagrad, adam, yogi
from raydl.optim.lamb import LAMB, TorchLAMB, lamb
from raydl.optim.lars import LARS, TorchLARS, lars
from raydl.optim.rule import UpdateRule
from raydl.optim.scaling import scale_rate
from raydl.optim.schedule import (
    SCHEDULES,
    AnySchedule,
    Constant,
    Cosine,
    Polynomial,
    ScheduleSpec,
    Step,
)
from raydl.optim.sgd import SGD, sgd
from raydl.optim.spec import OptimizerSpec

__all__ = [
    "LAMB",
    "LARS",
    "OPTIMIZERS",
    "SCHEDULES",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "AnyOptimizer",
    "AnySchedule",
    "Constant",
    "Cosine",
    "OptimizerSpec",
    "Polynomial",
    "ScheduleSpec",
    "Step",
    "TorchLAMB",
    "TorchLARS",
    "UpdateRule",
    "Yogi",
    "adagrad",
    "adam",
    "adamw",
    "lamb",
    "lars",
    "scale_rate",
    "sgd",
    "yogi",
]

OPTIMIZERS = (SGD, AdamW, LARS, LAMB, Adagrad, Adam, Yogi)  # that have a name on the command line

# What a field of a spec that holds an optimizer is annotated with.
AnyOptimizer: TypeAlias = Annotated[OptimizerSpec, OneOf("rule", *OPTIMIZERS)]
