"""Algorithms that draw, and a rule that gathers, for other processes to find by name."""

import numpy as np
import torch

from raydl.algorithms import FedAvg
from raydl.core import tree
from raydl.core.algorithm import Algorithm
from tests.federation import final, train

EVERYONE = [np.arange(4)] * 3


def noise(value, scale=0.01):
    return tree.map(lambda leaf: leaf + scale * torch.randn(leaf.shape), value)


def drawing() -> Algorithm:
    """FedAvg with noise wherever an algorithm may draw, and a momentum that begins with some."""
    fedavg = FedAvg(lr=0.1, batch_size=16, epochs=1).build()
    client = fedavg.client

    def init(broadcast, kept):
        return client.init(noise(broadcast), {}) | {"kept": kept}

    def step(gradient, local, batch):
        after, metrics = client.step(gradient, local, batch)
        return after | {"params": noise(after["params"]), "kept": local["kept"]}, metrics

    def last(broadcast, local):
        message, _ = client.final(broadcast, local)
        return noise(message), noise(local["kept"])

    return fedavg._replace(
        client=client._replace(
            init=init,
            step=step,
            final=last,
            initial_state=lambda broadcast: noise({"bias": broadcast["1.bias"]}),
        ),
        broadcast=lambda state: noise(state["params"]),
        server=lambda state, mean: fedavg.server(state, noise(mean)),
    )


def gathering(elementwise=True) -> Algorithm:
    """FedAvg by the median of the clients' updates, which are gathered by name."""
    fedavg = FedAvg(lr=0.1, batch_size=16, epochs=1).build()

    def add(gathered, update):
        return gathered | {str(update.client): update.message}

    def median(gathered):
        return tree.map(lambda *each: torch.stack(each).median(0)[0], *gathered.values())

    reduce = fedavg.reduce._replace(
        zero=dict,
        add=add,
        merge=lambda one, other: one | tree.map(torch.clone, other),
        result=median,
        stacked=None,
        additive=False,
    )
    return fedavg._replace(reduce=reduce, elementwise=elementwise)


def loop(problem, runtime, on_round, stop):
    return final(problem, train(problem, runtime, 3, cohorts=EVERYONE))
