"""AFL: the model that does best on the worst mixture of the clients' distributions.

    gₖ = ∇Fₖ(x), Fₖ on all of a client's samples
    x ← x − η Σ_S λₖ gₖ / Σ_S λₖ
    λ ← Π(λ + η_λ F),  Π the projection onto the simplex, F of the clients that took part
    x̄ ← the mean of the x so far, which is scored and kept

λ is 1 / N each at first. In the paper every client takes part in every round, so that Σ_S λₖ = 1;
of a cohort it is the mixture of those that are in it. Buffers (running statistics) are averaged.

M. Mohri, G. Sivek, A. T. Suresh, "Agnostic Federated Learning", ICML 2019.
"""

from dataclasses import dataclass
from operator import itemgetter

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    AlgorithmSpec,
    Broadcast,
    Client,
    ClientState,
    LocalState,
    Message,
    Plan,
    Reduced,
    Scope,
    ServerState,
)
from raydl.core.errors import require
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import mean, parts, scatter, total
from raydl.core.tree import Params


@dataclass(frozen=True)
class AFL(AlgorithmSpec):
    """One full-batch gradient a round, in a mixture of clients that leans to those with high loss.

    Args:
        lr: learning rate of the parameters (η).
        mixture_lr: learning rate of the mixture (η_λ); 0 keeps it uniform.
    """

    lr: float = 0.1
    mixture_lr: float = 0.01

    def __post_init__(self) -> None:
        require(self.lr > 0, "algorithm.lr", self.lr, "above 0")
        require(self.mixture_lr >= 0, "algorithm.mixture_lr", self.mixture_lr, "0 or larger")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        clients, plan = scope.known_clients("AFL"), Plan(batch_size=None, epochs=1)
        uniform = torch.full((clients,), 1 / clients, dtype=torch.float64)

        def init(params: Params) -> ServerState:
            rounds = torch.zeros((), dtype=torch.int64)
            return {"params": params, "mean": params, "mixture": uniform, "rounds": rounds}

        def server(state: ServerState, sent: Reduced) -> tuple[ServerState, Metrics]:
            params, rounds = state["params"], state["rounds"] + 1
            stepped = {
                name: torch.sub(params[name], grad, alpha=self.lr / float(sent["weight"] or 1))
                for name, grad in sent["grads"].items()
            }
            params = params | stepped | tree.like(sent["buffers"], params)
            lagging = {name: each - state["mean"][name] for name, each in stepped.items()}
            averaged = tree.axpy_(
                {name: state["mean"][name].clone() for name in lagging}, 1 / int(rounds), lagging
            )
            mixture = onto_simplex(
                state["mixture"] + self.mixture_lr * sent["loss"]["values"].double()
            )
            now = {"params": params, "mean": params | averaged}
            return now | {"mixture": mixture, "rounds": rounds}, {"largest_weight": mixture.max()}

        return Algorithm(
            init=init,
            params=itemgetter("mean"),
            plan=lambda state: plan,
            broadcast=lambda state: {"params": state["params"], "mixture": state["mixture"]},
            client=_client(),
            reduce=parts(grads=total(), weight=total(), buffers=mean(), loss=scatter(clients)),
            server=server,
        )


def onto_simplex(point: Tensor) -> Tensor:
    """The nearest point whose entries are 0 or larger and sum to 1, of [n].

    J. Duchi, S. Shalev-Shwartz, Y. Singer, T. Chandra, "Efficient Projections onto the ℓ1-Ball for
    Learning in High Dimensions", ICML 2008.
    """
    descending = point.sort(descending=True).values
    above = (descending.cumsum(0) - 1) / torch.arange(1, len(point) + 1).to(point)
    return (point - above[int((descending > above).sum()) - 1]).clamp(min=0)


def _client() -> Client:
    def view(broadcast: Broadcast, client: int) -> Broadcast:
        return broadcast | {"mixture": broadcast["mixture"][client]}

    def init(broadcast: Broadcast, _kept: ClientState) -> LocalState:
        return {"params": broadcast["params"], "weight": broadcast["mixture"].float()}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        scaled = {name: local["weight"] * grad for name, grad in grads.items()}
        sent = {"grads": scaled, "weight": local["weight"], "buffers": buffers}
        return local | {"sent": sent | {"loss": metrics["loss"]}}, metrics

    def final(_broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        return local["sent"], {}

    return Client(init, step, final, view=view)
