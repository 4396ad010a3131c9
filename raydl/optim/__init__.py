"""Optimizers as pure update rules, for clients and for servers.

rule  Rule: what every optimizer is
sgd   stochastic gradient descent with momentum, Nesterov momentum and weight decay
"""

from raydl.optim.rule import Rule
from raydl.optim.sgd import sgd

__all__ = ["Rule", "sgd"]
