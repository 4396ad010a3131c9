"""FedNova: clients' movements count for each step that they took, whoever took how many.

    ‖aₖ‖₁ ← sum of the weights that client k's gradients have in Δₖ = −η Σᵢ aₖᵢ gₖᵢ
    x ← x + ηₛ τ Σₖ pₖ Δₖ / ‖aₖ‖₁,  pₖ = nₖ / Σ_S n,  τ = Σₖ pₖ ‖aₖ‖₁

Of plain SGD ‖aₖ‖₁ is the number of steps. Under momentum ρ a step adds cᵢ = ρ cᵢ₋₁ + 1 to it, with
Nesterov's 1 + ρ cᵢ; with a proximal term μ/2 ‖w − x‖² it becomes (1 − η μ) ‖aₖ‖₁ + 1, and τ is the
mean number of steps. So clients that take more steps than others no longer pull x towards their own
optima; where all take as many it is FedAvg.

J. Wang, Q. Liu, H. Liang, G. Joshi, H. V. Poor, "Tackling the Objective Inconsistency Problem in
Heterogeneous Federated Optimization", NeurIPS 2020.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.federated.fedprox import proximal
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
from raydl.core.errors import SpecError, require
from raydl.core.grad import Batch, Gradient, Metrics


@dataclass(frozen=True)
class FedNova(FedAvg):
    """FedAvg whose clients count for each of their steps, where they take unequally many.

    Args:
        mu: weight of the clients' proximal term (μ); 0 is none, as it must be with momentum.
    """

    mu: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.mu < inf, "algorithm.mu", self.mu, "0 or larger")
        allowed = f"smaller than 1 / algorithm.lr = {1 / self.lr:g}"
        require(self.lr * self.mu < 1, "algorithm.mu", self.mu, allowed)
        if self.mu > 0 and self.momentum > 0:
            raise SpecError(
                f"algorithm.mu is {self.mu} and algorithm.momentum is {self.momentum}; FedNova "
                "corrects for one of them, so set the other to 0"
            )

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = super().build(scope)
        return fedavg._replace(
            client=_normalized(proximal(fedavg.client, self.mu), self),
            server=_server(self.server_lr),
        )


def _normalized(client: Client, spec: FedNova) -> Client:
    """A client that sends its movement for each step."""

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        counts = {name: torch.zeros(()) for name in ("steps", "weight", "norm")}
        return client.init(broadcast, kept) | {"counts": counts}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        after, metrics = client.step(gradient, local, batch)
        return after | {"counts": _count(local["counts"], spec)}, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message, kept = client.final(broadcast, local)
        counts = local["counts"]
        each = {"delta": tree.scale(message["delta"], 1 / counts["norm"])}
        return message | each | {"steps": counts["steps" if spec.mu else "norm"]}, kept

    return client._replace(init=init, step=step, final=final)


def _count(counts: dict[str, Tensor], spec: FedNova) -> dict[str, Tensor]:
    """The steps, and the sum of the gradients' weights, after another step."""
    weight = spec.momentum * counts["weight"] + 1  # of this gradient and all before, in this step
    added = 1 + spec.momentum * weight if spec.nesterov else weight
    norm = (1 - spec.lr * spec.mu) * counts["norm"] + added
    return {"steps": counts["steps"] + 1, "weight": weight, "norm": norm}


def _server(rate: float) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
        before = state["params"]
        sent = mean | {"delta": tree.like(mean["delta"], before)}
        return {"params": moved(before, sent, rate * float(mean["steps"]))}, {}

    return server
