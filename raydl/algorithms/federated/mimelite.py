"""MimeLite: clients step as a central optimizer would, with its state as the server has it.

    wₖ ← U(gₖ(wₖ), s) step by step from x, with the server's optimizer state s left as it is
    s ← V(Σₖ nₖ ∇Fₖ(x) / Σₖ nₖ, s),  of the gradients on all samples where the round began
    x ← Σₖ nₖ wₖ / Σₖ nₖ

U is one step of the optimizer, whose new state is forgotten, and V the state after such a step.
Where s is empty (SGD without momentum) it is FedAvg. Buffers (running statistics) are averaged.

S. P. Karimireddy, M. Jaggi, S. Kale, M. Mohri, S. Reddi, S. Stich, A. T. Suresh, "Breaking the
Centralized Barrier for Cross-Device Federated Learning", NeurIPS 2021.
"""

from dataclasses import dataclass
from operator import itemgetter

from raydl.algorithms.federated.correction import look, nothing_seen, one_pass, seen_gradient
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.movement import discount, moved, movement, untrained
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
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import mean
from raydl.optim import SGD, AnyOptimizer
from raydl.optim.rule import UpdateRule


@dataclass(frozen=True)
class MimeLite(AlgorithmSpec):
    """Local steps of a central optimizer, whose state clients receive and do not change.

    Args:
        optimizer: optimizer of the clients' steps, and of the state that the server keeps.
        batch_size: samples of a client's minibatch (B); null takes all of its samples at once.
        epochs: passes over a client's samples in a round (E), beside that for the state.
        steps: minibatches in a round (J); where given, it counts instead of epochs.
        drop_last: whether the last minibatch of an epoch is left out where it is smaller, unless it
            is the only one.
    """

    optimizer: AnyOptimizer = SGD()
    batch_size: int | None = 10
    epochs: int = 5
    steps: int | None = None
    drop_last: bool = False

    def __post_init__(self) -> None:
        self._plan()

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        rule, lr = self.optimizer.rule(), self.optimizer.lr
        plan = self._plan()
        plan = plan._replace(before=(one_pass(plan),))

        def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
            _, kept = rule.update(state["params"], mean["gradient"], state["optimizer"], lr)
            return {"params": moved(state["params"], mean), "optimizer": kept}, {}

        return Algorithm(
            init=lambda params: {"params": params, "optimizer": rule.init(params)},
            params=itemgetter("params"),
            plan=lambda state: plan,
            broadcast=lambda state: state,
            client=_client(rule, lr),
            reduce=mean(),
            server=server,
            discount=discount,
        )

    def _plan(self) -> Plan:
        """How long FedAvg with these options has a client train."""
        fedavg = FedAvg(
            batch_size=self.batch_size,
            epochs=self.epochs,
            steps=self.steps,
            drop_last=self.drop_last,
        )
        return fedavg.build().plan({})


def _client(rule: UpdateRule, lr: float) -> Client:
    def init(broadcast: Broadcast, _kept: ClientState) -> LocalState:
        return broadcast | {"buffers": {}, "seen": nothing_seen(broadcast["params"])}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        params, _ = rule.update(local["params"] | buffers, grads, local["optimizer"], lr)
        return local | {"params": params, "buffers": untrained(buffers, grads)}, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message = movement(broadcast["params"], local["params"], local["buffers"])
        grads = seen_gradient(local)
        return message | {"gradient": {name: grads[name] for name in message["delta"]}}, {}

    return Client(init, step, final, before=(look,))
