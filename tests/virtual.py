"""Algorithms and conditions to test virtual time on."""

import torch

from raydl.algorithms import FedAsync, FedAvg, FedSGD, LocalSGD
from raydl.core.algorithm import Plan, Scope
from raydl.optim import SGD
from raydl.optim.schedule import Constant
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.simulated.compute_time import Lognormal
from raydl.runtimes.simulated.spec import Simulated
from tests.federation import keeping

VARIED = Lognormal(1.0, spread=0.8, jitter=0.3)
HARSH = {"speed": VARIED, "stragglers": 0.3, "latency": 0.1, "down": 1e6, "up": 1e5}
WORKERS = LocalSGD(
    4, SGD(lr=0.1, momentum=0.9), schedule=Constant(), batch_size=16, steps=3, at_sync="keep"
)
EQUAL = {  # every client takes as many steps
    "FedAvg": FedAvg(steps=3, batch_size=16).build(),
    "FedSGD": FedSGD(lr=0.3).build(),
    "FedAsync": FedAsync(steps=3, batch_size=16, mixing=0.5).build(),
    "LocalSGD": WORKERS.build(Scope()),
    "keeping": keeping(Plan(16, steps=3), lr=0.05),
}
ALGORITHMS = EQUAL | {"FedAvg by epochs": FedAvg(epochs=1, batch_size=16).build()}
EVERYONE = [torch.arange(12).numpy()] * 100


def simulated(problem, **conditions):
    with Simulated(**conditions).open(problem) as runtime:
        return runtime


CASES = {
    "asynchronous": ("LocalSGD", {"consistency": Asynchronous(discount=0.5), "update_loss": 0.2}),
    "buffer": ("LocalSGD", {"consistency": Asynchronous(buffer=3)}),
    "stale": ("LocalSGD", {"consistency": StaleSynchronous(1)}),
    "backup": ("LocalSGD", {"consistency": Synchronous(4)}),
    "keeping": ("keeping", {"consistency": Asynchronous(2)}),
    "clients": ("FedAsync", {"consistency": Asynchronous(), "update_loss": 0.2}),
    "deadline": ("FedAvg", {"deadline": 4.0, "partial": True}),
}
