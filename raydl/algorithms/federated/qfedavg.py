"""q-FedAvg: clients that are served badly count more.

    F = Fₖ(x), the mean loss of all of a client's samples at the parameters that it received
    Δwₖ = (x − wₖ) / η,  wₖ from SGD with rate η
    Δₖ = F^q Δwₖ,   hₖ = q F^(q−1) ‖Δwₖ‖² + F^q / η
    x ← x − Σ_S Δₖ / Σ_S hₖ

With q = 0 it is the unweighted FedAvg. Buffers (running statistics) are averaged. F costs a pass
over the client's samples.

T. Li, M. Sanjabi, A. Beirami, V. Smith, "Fair Resource Allocation in Federated Learning", ICLR
2020; 1e-10 is added to F as in their code.
"""

from dataclasses import dataclass
from math import inf

import torch

from raydl.algorithms.federated.correction import keeping, look, nothing_seen, one_pass, seen_loss
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
from raydl.core.reduce import counted, total

_LEAST = 1e-10  # loss


@dataclass(frozen=True)
class QFedAvg(FedAvg):
    """FedAvg that weighs clients by their losses, so that none is left behind.

    Args:
        q: exponent of the clients' losses: 0 is FedAvg without weights by samples, and the larger
            it is, the nearer the worst client is all that counts.
    """

    q: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.q < inf, "algorithm.q", self.q, "0 or larger")
        least = "1: the size of the server's step follows from the losses"
        require(self.server_lr == 1, "algorithm.server_lr", self.server_lr, least)

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = super().build(scope)
        plan = fedavg.plan({})
        plan = plan._replace(before=(one_pass(plan),))

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            sent, updates = reduced["of"], float(reduced["updates"])
            step = {
                "delta": tree.scale(sent["delta"], 1 / float(sent["h"])),
                "buffers": tree.scale(sent["buffers"], 1 / updates),
            }
            return {"params": moved(state["params"], step)}, {}

        return fedavg._replace(
            plan=lambda state: plan,
            client=_client(self, fedavg.client),
            reduce=counted(total()),
            server=server,
            discount=None,  # of a movement, a part would not have the h that was sent
        )


def _client(spec: QFedAvg, plain: Client) -> Client:
    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        seen = nothing_seen(broadcast)
        return plain.init(broadcast, kept) | {"seen": seen}

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message, _ = plain.final(broadcast, local)
        loss = seen_loss(local) + _LEAST
        weight = loss**spec.q
        squares = [each.abs().square().sum() for each in message["delta"].values()]
        movements = torch.stack(squares).sum() / spec.lr**2
        h = spec.q * loss ** (spec.q - 1) * movements + weight / spec.lr
        scaled = {name: weight / spec.lr * each for name, each in message["delta"].items()}
        return message | {"delta": scaled, "h": h}, {}

    return Client(init, keeping(plain).step, final, before=(look,))
