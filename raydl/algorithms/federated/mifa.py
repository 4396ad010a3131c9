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

        def init(params: Params) -> ServerState:
            seen = torch.zeros((), dtype=torch.float64)
            return {"params": params, "memory": tree.zeros_like(params), "seen": seen}

        return fedavg._replace(
            init=init,
            client=remembering(fedavg.client),
            reduce=weighed(by_samples=self.weighing == "samples"),
            server=_server(self.server_lr),
            discount=None,  # of a change, a part would leave memory and clients apart
        )


def _server(rate: float) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
        params, before = state["params"], state["seen"]
        change = tree.like(reduced["change"], params)
        seen = before + reduced["first"].double()
        kept, part = float(before / seen), float(reduced["weight"] / seen)
        memory = tree.map(lambda c, y: kept * y + part * c, change, state["memory"])
        after: Params = params | tree.add(tree.scale(memory, rate), params)
        return {
            "params": after | tree.like(reduced["buffers"], params),
            "memory": state["memory"] | memory,
            "seen": seen,
        }, {}

    return server
