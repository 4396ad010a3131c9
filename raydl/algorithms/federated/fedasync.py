"""FedAsync: the server mixes each client's parameters into its own as they arrive.

    w ← SGD from x_t on  F(w) + μ/2 ‖w − x_t‖²
    x ← (1 − α s(τ)) x + α s(τ) w,  τ steps of the server after the client received x_t

C. Xie, S. Koyejo, I. Gupta, "Asynchronous Federated Optimization", OPT 2020 (arXiv:1903.03934),
where μ is called ρ. The discount s(τ) is the consistency's: with
``--runtime.consistency Asynchronous --runtime.consistency.discount a`` it is (1 + τ)⁻ᵃ. Of several
updates in one step, x is mixed with the mean of s(τ) w by the mean of s(τ).
"""

from dataclasses import dataclass
from math import inf

import torch

from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.federated.fedprox import proximal
from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    AlgorithmSpec,
    ClientState,
    LocalState,
    Message,
    Reduced,
    Scope,
)
from raydl.core.errors import require
from raydl.core.reduce import mean
from raydl.core.tree import Params


@dataclass(frozen=True)
class FedAsync(AlgorithmSpec):
    """Clients' parameters, mixed into the server's: for clients that come one at a time.

    Args:
        lr: learning rate of the clients (η).
        batch_size: samples of a client's minibatch (B); null takes all of its samples at once.
        epochs: passes over a client's samples (E).
        steps: minibatches of a client (J); where given, it counts instead of epochs.
        drop_last: whether the last minibatch of an epoch is left out where it is smaller, unless it
            is the only one.
        momentum: momentum of the clients' SGD, from 0 each time.
        weight_decay: L2 decay of the clients' SGD.
        mixing: part of the way that the server goes to a client's parameters (α).
        mu: weight of the clients' proximal term (μ); 0 is none.
    """

    lr: float = 0.1
    batch_size: int | None = 10
    epochs: int = 1
    steps: int | None = None
    drop_last: bool = False
    momentum: float = 0.0
    weight_decay: float = 0.0
    mixing: float = 0.6
    mu: float = 0.0

    def __post_init__(self) -> None:
        require(0 < self.mixing <= 1, "algorithm.mixing", self.mixing, "in (0, 1]")
        require(0 <= self.mu < inf, "algorithm.mu", self.mu, "0 or larger")
        self._local()

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = self._local().build(scope)
        client = proximal(fedavg.client, self.mu)
        return fedavg._replace(
            client=client._replace(final=_final),
            discount=tree.scale,
            reduce=mean(by_samples=False),
            server=lambda state, sent: ({"params": _mix(self, state["params"], sent)}, {}),
        )

    def _local(self) -> FedAvg:
        return FedAvg(
            lr=self.lr,
            batch_size=self.batch_size,
            epochs=self.epochs,
            steps=self.steps,
            drop_last=self.drop_last,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
        )


def _final(_broadcast: Params, local: LocalState) -> tuple[Message, ClientState]:
    return {"params": local["params"], "weight": torch.ones(())}, {}


def _mix(spec: FedAsync, params: Params, sent: Reduced) -> Params:
    own = 1 - spec.mixing * sent["weight"]
    mixed = tree.map(lambda x, w: own * x + spec.mixing * w, params, sent["params"])
    typed: Params = tree.like(mixed, params)
    return typed
