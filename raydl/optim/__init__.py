"""Optimizers as pure update rules, for clients and servers; LARS and LAMB for torch's loops too.

rule       Rule: what every optimizer is
sgd        stochastic gradient descent with momentum, Nesterov momentum and weight decay
adamw      Adam with decoupled weight decay
adaptive   Adagrad, Adam and Yogi as federated servers use them
lars       SGD with a trust ratio for each tensor: lars, a Rule, and LARS, a torch optimizer
lamb       AdamW with a trust ratio for each tensor: lamb and LAMB likewise
trust      which tensors have a trust ratio
optimizer  what LARS and LAMB share as torch optimizers
foreach    operations on lists of tensors, in place
schedule   the rate over a run: constant, cosine, polynomial or step, each with a warm-up
scaling    the rate and the size of the batch
"""

from raydl.optim.adamw import adamw
from raydl.optim.adaptive import adagrad, adam, yogi
from raydl.optim.lamb import LAMB, lamb
from raydl.optim.lars import LARS, lars
from raydl.optim.rule import Rule
from raydl.optim.scaling import scaled
from raydl.optim.schedule import Constant, Cosine, Polynomial, Step
from raydl.optim.sgd import sgd

__all__ = [
    "LAMB",
    "LARS",
    "Constant",
    "Cosine",
    "Polynomial",
    "Rule",
    "Step",
    "adagrad",
    "adam",
    "adamw",
    "lamb",
    "lars",
    "scaled",
    "sgd",
    "yogi",
]
