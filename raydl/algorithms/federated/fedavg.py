"""FedAvg: each client of the cohort trains by itself, and the server averages what came of it.

    wₖ ← SGD from x on client k's own samples
    x ← x + ηₛ Σₖ nₖ (wₖ − x) / Σₖ nₖ

Buffers, such as running statistics, are no parameters: x takes the mean of them.

B. McMahan, E. Moore, D. Ramage, S. Hampson, B. Agüera y Arcas, "Communication-Efficient Learning of
Deep Networks from Decentralized Data", AISTATS 2017. The server's rate ηₛ is that of S. Reddi et
al., "Adaptive Federated Optimization", ICLR 2021; ηₛ = 1 is the plain average.
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter

from raydl.algorithms.movement import discount, moved, movement, untrained
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    AlgorithmSpec,
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
from raydl.core.reduce import mean
from raydl.core.tree import Params
from raydl.optim import sgd


@dataclass(frozen=True)
class FedAvg(AlgorithmSpec):
    """Local SGD on each client of the cohort, then the average weighted by samples.

    Args:
        lr: learning rate of the clients (η).
        batch_size: samples of a client's minibatch (B); null takes all of its samples at once.
        epochs: passes over a client's samples in a round (E).
        steps: minibatches in a round (J); where given, it counts instead of epochs.
        drop_last: whether the last minibatch of an epoch is left out where it is smaller, unless it
            is the only one.
        momentum: momentum of the clients' SGD, from 0 in each round.
        nesterov: whether that momentum looks ahead.
        weight_decay: L2 decay of the clients' SGD.
        server_lr: learning rate of the server (ηₛ); 1 is the plain average.
    """

    lr: float = 0.1
    batch_size: int | None = 10
    epochs: int = 5
    steps: int | None = None
    drop_last: bool = False
    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0
    server_lr: float = 1.0

    def __post_init__(self) -> None:
        require(self.lr > 0, "algorithm.lr", self.lr, "above 0")
        require(self.server_lr > 0, "algorithm.server_lr", self.server_lr, "above 0")
        require(self.epochs >= 1, "algorithm.epochs", self.epochs, "1 or larger")
        for name in ("batch_size", "steps"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"algorithm.{name}", value, "1 or larger, or null")
        sgd(self.momentum, nesterov=self.nesterov, weight_decay=self.weight_decay)

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        plan = Plan(self.batch_size, self.epochs, self.steps, drop_last=self.drop_last)
        return Algorithm(
            init=lambda params: {"params": params},
            params=itemgetter("params"),
            plan=lambda state: plan,
            broadcast=itemgetter("params"),
            client=_client(self),
            reduce=mean(),
            server=_server(self),
            discount=discount,
        )


def _client(spec: FedAvg) -> Client:
    rule = sgd(spec.momentum, nesterov=spec.nesterov, weight_decay=spec.weight_decay)

    def init(broadcast: Params, _kept: ClientState) -> LocalState:
        return {"params": broadcast, "momentum": rule.init(broadcast), "buffers": {}}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        params = local["params"] | buffers
        params, momentum = rule.update(params, grads, local["momentum"], spec.lr)
        untouched = untrained(buffers, grads)
        return {"params": params, "momentum": momentum, "buffers": untouched}, metrics

    def final(broadcast: Params, local: LocalState) -> tuple[Message, ClientState]:
        return movement(broadcast, local["params"], local["buffers"]), {}

    return Client(init, step, final)


def _server(spec: FedAvg) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
        return {"params": moved(state["params"], mean, spec.server_lr)}, {}

    return server
