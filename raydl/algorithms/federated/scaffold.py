"""SCAFFOLD: control variates take out of a client's steps what is its own alone.

    wₖ ← wₖ − η (gₖ(wₖ) + c − cₖ),  from x
    cₖ⁺ = ∇Fₖ(x)  (option I)  or  cₖ − c + (x − wₖ) / (K η)  (option II), after K steps
    x ← x + ηₛ / |S| Σ_S (wₖ − x)
    c ← c + 1 / N Σ_S (cₖ⁺ − cₖ)

The means are of clients, not of samples; K is the client's own number of steps. Buffers (running
statistics) have no control variate, and x takes the mean of them. Weight decay is part of gₖ.

S. P. Karimireddy, S. Kale, M. Mohri, S. Reddi, S. Stich, A. T. Suresh, "SCAFFOLD: Stochastic
Controlled Averaging for Federated Learning", ICML 2020.
"""

from dataclasses import dataclass
from typing import Literal

import torch

from raydl.algorithms.federated.correction import (
    corrected,
    look,
    nothing_seen,
    one_pass,
    seen_gradient,
)
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
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import counted, mean


@dataclass(frozen=True)
class SCAFFOLD(FedAvg):
    """Local SGD with control variates, which clients keep: for clients that differ much.

    Args:
        option: making of a client's control variate: I takes its gradient on all of its samples
            where the round began, one more pass; II what it moved by.
    """

    option: Literal["I", "II"] = "II"

    def __post_init__(self) -> None:
        super().__post_init__()
        without = "0: with local momentum a client's movement is no longer a sum of its gradients"
        require(self.momentum == 0, "algorithm.momentum", self.momentum, without)

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        clients = scope.known_clients("SCAFFOLD")
        fedavg = super().build(scope)
        plan = fedavg.plan({})
        plan = plan._replace(before=(one_pass(plan),)) if self.option == "I" else plan

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            mean, share = reduced["of"], float(reduced["updates"]) / clients
            control = {
                name: torch.add(state["control"][name], change, alpha=share)
                for name, change in mean["control"].items()
            }
            params = moved(state["params"], mean, self.server_lr)
            return {"params": params, "control": state["control"] | control}, {}

        return fedavg._replace(
            init=lambda params: {"params": params, "control": tree.zeros_like(params)},
            plan=lambda state: plan,
            broadcast=lambda state: state,
            client=_client(self, fedavg.client),
            reduce=counted(mean(by_samples=False)),
            server=server,
            discount=None,  # of a movement, a part would not be the control's
        )


def _client(spec: SCAFFOLD, plain: Client) -> Client:
    looks = spec.option == "I"
    along = corrected(plain, lambda local, params, name: local["correction"][name])

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        correction = tree.sub(broadcast["control"], kept["control"])
        local = plain.init(broadcast["params"], {})
        local |= {"correction": correction, "steps": torch.zeros(())}
        return local | ({"seen": nothing_seen(broadcast["params"])} if looks else {})

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        local, metrics = along.step(gradient, local, batch)
        return local | {"steps": local["steps"] + 1}, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        start = broadcast["params"]
        message, _ = plain.final(start, local)
        if looks:
            gradients, decay = seen_gradient(local), spec.weight_decay
            new = {
                name: torch.add(gradients[name], start[name], alpha=decay)
                for name in message["delta"]
            }
        else:
            steps = spec.lr * local["steps"]
            new = {
                name: -local["correction"][name] - delta / steps
                for name, delta in message["delta"].items()
            }
        kept = tree.sub(broadcast["control"], local["correction"])
        change = {name: each - kept[name] for name, each in new.items()}
        return message | {"control": change}, {"control": kept | new}

    return Client(
        init,
        step,
        final,
        initial_state=lambda broadcast: {"control": tree.zeros_like(broadcast["control"])},
        before=(look,) if looks else (),
    )
