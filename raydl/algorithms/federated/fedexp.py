"""FedExP: FedAvg whose server goes further along the mean movement, the less the clients agree.

    Δ ← Σₖ pₖ Δₖ,  pₖ = nₖ / Σ_S n
    η ← max(ηₛ, Σₖ pₖ ‖Δₖ‖² / (2 (‖Δ‖² + ε)))
    x ← x + η Δ

The paper's ηₛ is 1. Such steps overshoot by turns, so what is scored and kept is the mean of the
last two x. Buffers, such as running statistics, are no part of Δ.

D. Jhunjhunwala, S. Wang, G. Joshi, "FedExP: Speeding Up Federated Averaging via Extrapolation",
ICLR 2023. As in the authors' code, clients weigh by their samples; there ε is also multiplied by
the size of the cohort, and decays over the rounds.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from operator import itemgetter

import torch
from torch import Tensor

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
from raydl.core.tree import Params


@dataclass(frozen=True)
class FedExP(FedAvg):
    """FedAvg whose server extrapolates the mean movement, as far as the clients differ.

    Args:
        server_lr: smallest learning rate of the server (ηₛ).
        epsilon: number added to the squared norm of the mean movement (ε); larger for smaller
            steps.
    """

    epsilon: float = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.epsilon < inf, "algorithm.epsilon", self.epsilon, "above 0")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = super().build(scope)
        return fedavg._replace(
            init=lambda params: {"params": params, "scored": params},
            params=itemgetter("scored"),
            client=_measured(fedavg.client),
            server=_server(self),
            discount=None,  # of a movement, a part would not have the norm that was sent
        )


def _measured(client: Client) -> Client:
    """A client that also sends the squared norm of its movement."""

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message, kept = client.final(broadcast, local)
        return message | {"square": _square(message["delta"])}, kept

    return client._replace(final=final)


def _server(spec: FedExP) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
        before = state["params"]
        delta = tree.like(mean["delta"], before)
        agreed = 2 * (_square(delta) + spec.epsilon)
        rate = (mean["square"] / agreed).clamp(min=spec.server_lr)
        params = moved(before, mean | {"delta": delta}, float(rate))
        scored = {name: (params[name] + before[name]) / 2 for name in delta}
        return {"params": params, "scored": params | scored}, {"lr": rate}

    return server


def _square(delta: Params) -> Tensor:
    """The squared norm of all entries together, of complex ones as of pairs."""
    return torch.stack([each.abs().float().square().sum() for each in delta.values()]).sum()
