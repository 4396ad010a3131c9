"""FedSGD: one step of gradient descent a round, on the samples of the cohort.

By gradients, gₖ = ∇fₖ(x) is sent and the server steps:  x ← x − η Σₖ nₖ gₖ / Σₖ nₖ.
By weights, each client sends wₖ = x − η gₖ, and the server averages:  x ← Σₖ nₖ wₖ / Σₖ nₖ.
Both are the same update; they differ in what an observer of the messages sees.

B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas, "Communication-Efficient Learning of
Deep Networks from Decentralized Data", AISTATS 2017: FedSGD is its C-fraction, E = 1, B = ∞ case.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    AlgorithmSpec,
    Client,
    LocalState,
    Message,
    Plan,
    Reduced,
    Scope,
    ServerState,
)
from raydl.core.errors import require
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import mean
from raydl.core.tree import Params
from raydl.optim import sgd


@dataclass(frozen=True)
class FedSGD(AlgorithmSpec):
    """One full-batch gradient step a round, averaged over the cohort by samples.

    Args:
        lr: learning rate (η).
        send: message of a client: its gradient, or the weights after its own step.
    """

    lr: float = 0.1
    send: Literal["gradients", "weights"] = "gradients"

    def __post_init__(self) -> None:
        require(self.lr > 0, "algorithm.lr", self.lr, "above 0")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        plan = Plan(batch_size=None, epochs=1)
        by_gradients = self.send == "gradients"
        return Algorithm(
            init=lambda params: {"params": params},
            params=itemgetter("params"),
            plan=lambda state: plan,
            broadcast=itemgetter("params"),
            client=_gradients() if by_gradients else _weights(self.lr),
            reduce=mean(),
            server=_descend(self.lr) if by_gradients else _replace,
            discount=_discount if by_gradients else None,
        )


def _gradients() -> Client:
    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        return {"params": local["params"], "sent": {"grads": grads, "buffers": buffers}}, metrics

    return Client(
        init=lambda broadcast, kept: {"params": broadcast},
        step=step,
        final=lambda broadcast, local: (local["sent"], {}),
    )


def _discount(sent: Message, factor: float) -> Message:
    return sent | {"grads": tree.scale(sent["grads"], factor)}


def _weights(lr: float) -> Client:
    rule = sgd()

    def step(gradient: Gradient, params: Params, batch: Batch) -> tuple[Params, Metrics]:
        grads, buffers, metrics = gradient(params, batch)
        return rule.update(params | buffers, grads, {}, lr)[0], metrics

    return Client(
        init=lambda broadcast, kept: broadcast,
        step=step,
        final=lambda broadcast, params: (params, {}),
    )


def _descend(lr: float) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    rule = sgd()

    def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
        grads, buffers = (tree.like(mean[name], state["params"]) for name in ("grads", "buffers"))
        return {"params": rule.update(state["params"] | buffers, grads, {}, lr)[0]}, {}

    return server


def _replace(state: ServerState, mean: Params) -> tuple[ServerState, Metrics]:
    return {"params": tree.like(mean, state["params"])}, {}
