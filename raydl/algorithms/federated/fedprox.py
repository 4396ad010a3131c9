"""FedProx: FedAvg whose clients are pulled back to where they began.

    wₖ ← SGD from x on  Fₖ(w) + μ/2 ‖w − x‖²
    x ← x + ηₛ Σₖ nₖ (wₖ − x) / Σₖ nₖ

T. Li, A. Sahu, M. Zaheer, M. Sanjabi, A. Talwalkar, V. Smith, "Federated Optimization in
Heterogeneous Networks", MLSys 2020. Their stragglers, who send what they could do in time, are a
matter of the runtime: ``simulated`` with a deadline and partial work.
"""

from dataclasses import dataclass
from math import inf

from torch import Tensor

from raydl.algorithms.federated.correction import corrected
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    Client,
    ClientState,
    LocalState,
    Scope,
)
from raydl.core.errors import require
from raydl.core.tree import Params


@dataclass(frozen=True)
class FedProx(FedAvg):
    """FedAvg with a proximal term, for clients that differ much or train for different times.

    Args:
        mu: weight of the proximal term (μ); 0 is FedAvg.
    """

    mu: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.mu < inf, "algorithm.mu", self.mu, "0 or larger")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        fedavg = super().build(scope)
        return fedavg._replace(client=proximal(fedavg.client, self.mu))


def proximal(client: Client, mu: float) -> Client:
    """A client that descends on its loss + μ/2 ‖w − x‖², x being the parameters it received.

    Args:
        client: one that receives the parameters, and has its own in ``local["params"]``.
        mu: μ; with 0 it is the client itself.
    """
    if mu == 0:
        return client

    def init(broadcast: Params, kept: ClientState) -> LocalState:
        return client.init(broadcast, kept) | {"origin": broadcast}

    def pull(local: LocalState, params: Params, name: str) -> Tensor:
        origin: Params = local["origin"]
        return mu * (params[name] - origin[name])

    return corrected(client, pull)._replace(init=init)
