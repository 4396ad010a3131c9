"""Mime, MimeLite: clients step as a central optimizer would, with its state as the server has it.

    c = Σₖ nₖ ∇Fₖ(x) / Σₖ nₖ,  of the gradients on all samples where the round began
    wₖ ← U(gₖ(wₖ) − gₖ(x) + c, s)  (Mime)  or  U(gₖ(wₖ), s)  (MimeLite),  step by step from x
    s ← V(c, s)
    x ← Σₖ nₖ wₖ / Σₖ nₖ

U is one step of the optimizer, whose new state is forgotten, and V the state after such a step;
the server's s stays as it is while clients step. Where s is empty (SGD without momentum) MimeLite
is FedAvg. Mime's cohort meets the server twice in a round, as it needs c before it trains; its
two gradients of a step are of the same minibatch. Buffers (running statistics) are averaged.

S. P. Karimireddy, M. Jaggi, S. Kale, M. Mohri, S. Reddi, S. Stich, A. T. Suresh, "Breaking the
Centralized Barrier for Cross-Device Federated Learning", NeurIPS 2021.
"""

from dataclasses import dataclass
from operator import itemgetter

from raydl.algorithms.federated.correction import look, nothing_seen, one_pass, seen_gradient
from raydl.algorithms.federated.fedavg import FedAvg
from raydl.algorithms.movement import discount, moved, movement, untrained
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
from raydl.core.grad import Batch, Gradient, Gradients, Metrics
from raydl.core.reduce import mean
from raydl.core.tree import Params
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
            client=_looking(_client(rule, lr)),
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


@dataclass(frozen=True)
class Mime(MimeLite):
    """MimeLite whose steps are corrected by the cohort's gradient: clients do not drift apart."""

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        lite = super().build(scope)
        train = self._plan()._replace(server_steps=2)
        gather = one_pass(train)._replace(server_steps=2)

        def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
            if "control" not in state:
                return state | {"control": mean["gradient"]}, {}
            control = {name: state["control"][name] for name in mean["delta"]}
            return lite.server(state, mean | {"gradient": control})

        return lite._replace(
            plan=lambda state: train if "control" in state else gather,
            broadcast=lambda state: state if "control" in state else {"params": state["params"]},
            client=_gathering(_corrected(_client(self.optimizer.rule(), self.optimizer.lr))),
            server=server,
            discount=None,  # of a part of a gradient, no step could be made
            lockstep=True,
        )


def _client(rule: UpdateRule, lr: float) -> Client:
    """One that makes a central optimizer's steps."""

    def init(broadcast: Broadcast, _kept: ClientState) -> LocalState:
        return broadcast | {"buffers": {}}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        params, _ = rule.update(local["params"] | buffers, grads, local["optimizer"], lr)
        return local | {"params": params, "buffers": untrained(buffers, grads)}, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        return movement(broadcast["params"], local["params"], local["buffers"]), {}

    return Client(init, step, final)


def _looking(client: Client) -> Client:
    """One that also sends the gradient where the round began, of a pass before its steps."""

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        return client.init(broadcast, kept) | {"seen": nothing_seen(broadcast["params"])}

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        (message, _), grads = client.final(broadcast, local), seen_gradient(local)
        return message | {"gradient": {name: grads[name] for name in message["delta"]}}, {}

    return client._replace(init=init, final=final, before=(look,))


def _corrected(client: Client) -> Client:
    """One whose gradients have the cohort's in the place of its own where the round began."""

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        return client.init(broadcast, kept) | {"start": broadcast["params"]}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        def toward(params: Params, batch: Batch) -> Gradients:
            given, own = gradient(params, batch), gradient(local["start"], batch).grads
            terms = {name: local["control"][name] - own[name] for name in given.grads}
            return given._replace(grads=tree.add(given.grads, terms))

        return client.step(toward, local, batch)

    return client._replace(init=init, step=step)


def _gathering(client: Client) -> Client:
    """One that sends its gradient as long as it has received none of the cohort."""

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        if "control" in broadcast:
            return client.init(broadcast, kept)
        return {"params": broadcast["params"], "seen": nothing_seen(broadcast["params"])}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        return (look if "seen" in local else client.step)(gradient, local, batch)

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        if "seen" in local:
            return {"gradient": seen_gradient(local)}, {}
        return client.final(broadcast, local)

    return client._replace(init=init, step=step, final=final)
