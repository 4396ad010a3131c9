"""FedFade: every step of the server is of all clients, by what they sent last, which fades.

    Δₖ ← movement of client k from x, as in FedAvg;   yₖ ← Δₖ, tₖ ← t for k in the cohort of round t
    x ← x + ηₛ Σⱼ nⱼ ρ^(t − tⱼ) yⱼ / Σⱼ nⱼ ρ^(t − tⱼ),  j all clients that ever took part

With ρ = 0 it is FedAvg, with ρ = 1 MIFA. It is meant for participation that is strongly skewed.
FedAvg then steps for the few that come always; MIFA steps for all that ever came, but for ever
along movements that belong to an x long gone. Within some 1 / (1 − ρ) rounds each client counts
once here, however often it came, and what is older is forgotten.

Client k keeps yₖ and tₖ, and sends Δₖ − ρ^(t − tₖ) yₖ; the server has their mean alone.

It is raydl's own, and in no paper. Measured with a prototype of the same equations: digits, 100
clients of 12 samples, C = .1, J = 4, lr .1, an MLP, 600 rounds; mean test accuracy in percent over
5 seeds, or 3 after 2,000 rounds and at γ = .5; ρ was not chosen by validation:

    participation          labels   FedAvg  FedVARP  MIFA   ρ = .98  .99   .995  .998
    Skewed, γ = .05        sorted   89.8    90.7     91.4   93.0     93.3  93.7  93.3
      after 2,000 rounds   sorted   91.9    93.2     91.8   94.5     94.7  94.6  93.9
    Skewed, γ = .05        i.i.d.   92.6    93.0     93.0   93.9     94.0
    Skewed, γ = .5         sorted   94.8    95.9     95.9   96.0     96.2  96.2  96.2

FedAvg weighted by one over how often a client came so far, and normalized, has 92.8, 94.3, 93.5 and
95.4 in these rows, which at γ = .05 is within the deviations over seeds (.5 to 2.4). FedAvg has
96.2 and 96.5 where all are equally likely: at γ = .05 some 30 of the 100 clients are ever seen, and
what the others have cannot be made up for.
"""

from dataclasses import dataclass

import torch

from raydl.algorithms.federated.mifa import MIFA, all_of_them, remember
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
class FedFade(MIFA):
    """FedAvg over all clients, of which those not drawn are as they were last, and fade.

    Args:
        memory: factor on what a client sent, for each round that it is old (ρ), in [0, 1]; 0 is
            FedAvg, 1 MIFA.
    """

    memory: float = 0.99

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.memory <= 1, "algorithm.memory", self.memory, "in [0, 1]")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        mifa, step = super().build(scope), all_of_them(self.server_lr, self.memory)

        def init(params: Params) -> ServerState:
            return remember(params) | {"round": torch.zeros((), dtype=torch.int64)}

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            after, metrics = step(state, reduced)
            return after | {"round": state["round"] + 1}, metrics

        return mifa._replace(
            init=init,
            broadcast=lambda state: {name: state[name] for name in ("params", "round")},
            client=_fading(mifa.client, self.memory),
            server=server,
        )


def _fading(client: Client, memory: float) -> Client:
    """A client that knows of what it keeps how much is left at the server."""

    def start(broadcast: Broadcast) -> ClientState:
        return {"sent": client.initial_state(broadcast["params"]), "round": broadcast["round"]}

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        left = memory ** (broadcast["round"] - kept["round"])
        return client.init(broadcast["params"], tree.scale(kept["sent"], left))

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message, kept = client.final(broadcast["params"], local)
        return message, {"sent": kept, "round": broadcast["round"]}

    return Client(init, client.step, final, start)
