"""FedDyn: a client's loss is regularized anew in every round, so that its optimum is the whole's.

    wₖ ← SGD from x on  Fₖ(w) + α ⟨hₖ, w⟩ + α/2 ‖w − x‖²
    hₖ ← hₖ + wₖ − x,  so that α hₖ = −∇Fₖ(wₖ) where the client reached its optimum
    h ← h + 1/N Σ_S (wₖ − x)
    x ← 1/|S| Σ_S wₖ + h

What is scored and kept is the mean of the cohort's models, without h; clients begin from x. The
means are of clients, not of samples. Buffers (running statistics) are not regularized.

D. A. E. Acar, Y. Zhao, R. Matas, M. Mattina, P. Whatmough, V. Saligrama, "Federated Learning Based
on Dynamic Regularization", ICLR 2021; signs as in their code, whose hₖ is this one.
"""

from dataclasses import dataclass
from math import inf
from operator import itemgetter

import torch
from torch import Tensor

from raydl.algorithms.federated.correction import corrected
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.movement import moved
from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    Broadcast,
    Client,
    ClientState,
    LocalState,
    Message,
    Reduced,
    Scope,
    ServerState,
)
from raydl.core.errors import require
from raydl.core.grad import Metrics
from raydl.core.reduce import counted, mean
from raydl.core.tree import Params


@dataclass(frozen=True)
class FedDyn(FedAvg):
    """Local SGD on dynamically regularized losses, for which clients keep how far they moved.

    Args:
        alpha: weight of the regularization (α); the authors try .1, .01 and .001. None of them is
            FedAvg: h accumulates whatever α is.
    """

    alpha: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.alpha < inf, "algorithm.alpha", self.alpha, "above 0")
        require(self.server_lr == 1, "algorithm.server_lr", self.server_lr, "1: FedDyn has none")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        clients, fedavg = scope.known_clients("FedDyn"), super().build(scope)

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            sent, share = reduced["of"], float(reduced["updates"]) / clients
            cohort = moved(state["begun"], sent)
            h = state["h"] | {
                name: torch.add(state["h"][name], each, alpha=share)
                for name, each in sent["delta"].items()
            }
            begun = {name: each + h[name] if name in h else each for name, each in cohort.items()}
            begun |= {name: cohort[name] for name in sent["buffers"]}
            return {"params": cohort, "begun": begun, "h": h}, {}

        return fedavg._replace(
            init=lambda params: {"params": params, "begun": params, "h": tree.zeros_like(params)},
            broadcast=itemgetter("begun"),
            client=_client(fedavg.client, self.alpha),
            reduce=counted(mean(by_samples=False)),
            server=server,
            discount=None,  # of a movement, a part would leave h and the clients' apart
        )


def _client(plain: Client, alpha: float) -> Client:
    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        return plain.init(broadcast, {}) | {"origin": broadcast, "h": kept["h"]}

    def term(local: LocalState, params: Params, name: str) -> Tensor:
        apart: Tensor = params[name] - local["origin"][name] + local["h"][name]
        return alpha * apart

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message, _ = plain.final(broadcast, local)
        h = {name: local["h"][name] + delta for name, delta in message["delta"].items()}
        return message, {"h": local["h"] | h}

    along = corrected(plain, term)
    return Client(init, along.step, final, lambda broadcast: {"h": tree.zeros_like(broadcast)})
