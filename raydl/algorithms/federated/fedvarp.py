"""FedVARP: the server's step corrected by what each client sent last.

    Δₖ ← movement of client k from x, as in FedAvg
    v ← Σ_S nₖ (Δₖ − yₖ) / Σ_S nₖ + Σⱼ nⱼ yⱼ / Σⱼ nⱼ,  S the cohort, j all N clients
    x ← x + ηₛ v;   yₖ ← Δₖ for k in S

y is 0 at first. Clients that are not drawn are represented by what they sent last, so that a
cohort's differing from the rest no longer sways the step: where every client takes part it is
FedAvg's. The paper weighs clients equally, nₖ = 1. Client k keeps yₖ, and sends Δₖ − yₖ; the server
has their mean alone, whatever N is.

D. Jhunjhunwala, P. Sharma, A. Nagarkatti, G. Joshi, "FedVARP: Tackling the Variance Due to Partial
Client Participation in Federated Learning", UAI 2022.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch

from raydl.algorithms.federated.correction import keeping
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
    Reduce,
    Reduced,
    Scope,
    ServerState,
)
from raydl.core.grad import Metrics
from raydl.core.reduce import mean, parts, total

Weighing: TypeAlias = Literal["samples", "clients"]


@dataclass(frozen=True)
class FedVARP(FedAvg):
    """FedAvg whose server remembers what the clients that are not drawn sent last.

    Args:
        weighing: weights of the clients: their samples, as FedAvg's, or all the same, as the
            paper's.
    """

    weighing: Weighing = "samples"

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for so many clients.

        Raises:
            SpecError: if it is not known how many there are.
        """
        sizes, by_samples = scope.known_sizes("FedVARP"), self.weighing == "samples"
        everyone = float(sizes.sum()) if by_samples else len(sizes)
        fedavg = super().build(scope)
        return fedavg._replace(
            init=lambda params: {"params": params, "memory": tree.zeros_like(params)},
            client=remembering(fedavg.client),
            reduce=weighed(by_samples=by_samples),
            server=_server(everyone, self.server_lr),
            discount=None,  # of a change, a part would leave memory and clients apart
        )


def remembering(client: Client) -> Client:
    """A client that sends by how much its movement is another one than what it keeps.

    Its message has the parts ``change`` of ``delta``, ``buffers``, and scalars that are to be
    weighed: ``weight``, 1, and ``new``, the part of it that the server has not counted yet. It
    keeps ``delta``, what it sent last, and ``known``, 1; at first both are 0.

    Args:
        client: one that sends ``delta`` and ``buffers``, and keeps nothing.
    """

    def start(broadcast: Broadcast) -> ClientState:
        return {"delta": tree.zeros_like(broadcast), "known": torch.zeros(())}

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        return client.init(broadcast, {}) | {"kept": kept}

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        sent, _ = client.final(broadcast, local)
        last, known = local["kept"]["delta"], local["kept"]["known"]
        message = {
            "change": tree.sub(sent["delta"], last),
            "buffers": sent["buffers"],
            "weight": torch.ones_like(known),
            "new": 1 - known,
        }
        return message, {"delta": last | sent["delta"], "known": torch.ones_like(known)}

    return Client(init, keeping(client).step, final, start)


def weighed(*, by_samples: bool) -> Reduce:
    """Means of what `remembering` clients send, and sums of its scalars."""
    each, scalar = mean(by_samples=by_samples), total(by_samples=by_samples)
    return parts(change=each, buffers=mean(), weight=scalar, new=scalar)


def _server(
    everyone: float, rate: float
) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
        params, memory = state["params"], state["memory"]
        change = tree.like(reduced["change"], params)
        part = float(reduced["weight"]) / everyone
        sent = {"delta": tree.add(change, memory), "buffers": reduced["buffers"]}
        remembered = memory | tree.add(tree.scale(change, part), memory)
        return {"params": moved(params, sent, rate), "memory": remembered}, {}

    return server
