"""MIFA: every step of the server is of all clients, by what each of them sent last.

    Δₖ ← movement of client k from x, as in FedAvg;   yₖ ← Δₖ for k in the cohort
    x ← x + ηₛ Σⱼ nⱼ yⱼ / Σⱼ nⱼ,  j all clients that ever took part

The paper lets all clients take part in the first round, and weighs them equally, nₖ = 1. Without
such a round the sums are over those that there are updates of: the first step is FedAvg's, and so
is every step where all take part. Client k keeps yₖ, and sends Δₖ − yₖ; the server has their mean
alone, whatever N is.

X. Gu, K. Huang, J. Zhang, L. Huang, "Fast Federated Learning in the Presence of Arbitrary Device
Unavailability", NeurIPS 2021.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.federated.fedvarp import Weighing, remembering, weighed
from raydl.algorithms.movement import moved
from raydl.core import tree
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, Reduced, Scope, ServerState
from raydl.core.grad import Metrics
from raydl.core.tree import Params


@dataclass(frozen=True)
class MIFA(FedAvg):
    """FedAvg over all clients, of which those that are not drawn are as they were last.

    Args:
        weighing: weights of the clients: their samples, as FedAvg's, or all the same, as the
            paper's.
    """

    weighing: Weighing = "samples"

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = super().build(scope)
        return fedavg._replace(
            init=remember,
            client=remembering(fedavg.client),
            reduce=weighed(by_samples=self.weighing == "samples"),
            server=all_of_them(self.server_lr),
            discount=None,  # of a change, a part would leave memory and clients apart
        )


def remember(params: Params) -> ServerState:
    """The first state: the mean of what was sent last, and the weights that stand behind it."""
    seen = torch.zeros((), dtype=torch.float64)
    return {"params": params, "memory": tree.zeros_like(params), "seen": seen}


def all_of_them(
    rate: float, memory: float = 1.0
) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    """The step along the mean of what all clients sent last.

    Args:
        rate: of the server (ηₛ).
        memory: factor on the weight of what was sent before.
    """

    def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
        params, before = state["params"], memory * state["seen"]
        change = tree.like(reduced["change"], params)
        seen = before + reduced["new"].double()
        kept, part = float(before / seen), float(reduced["weight"] / seen)
        mean = tree.map(lambda c, y: kept * y + part * c, change, state["memory"])
        return {
            "params": moved(params, {"delta": mean, "buffers": reduced["buffers"]}, rate),
            "memory": state["memory"] | mean,
            "seen": seen,
        }, {}

    return server
