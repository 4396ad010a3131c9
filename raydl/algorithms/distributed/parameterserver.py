"""A parameter server: workers push gradients to it, and pull the parameters that it made of them.

In an exchange each of K workers takes J steps from the server's parameters x, and the server's
optimizer makes one step along the workers' mean of the sums of their gradients:

    x₀ ← x;  gⱼ ← ∇f(xⱼ);  xⱼ₊₁ ← xⱼ − η gⱼ      on a worker, for j = 0 ... J − 1
    x ← optimizer's step along Σₖ Σⱼ gₖⱼ / K       on the server

With J = 1 that is synchronous SGD on the workers' minibatches together: the numbers of gradient
all-reduce, and of one machine with the global batch. With J > 1, and a server that steps as the
gradients arrive, it is Downpour SGD. Running statistics are no parameters: x takes the workers'
mean.

M. Li et al., "Scaling Distributed Machine Learning with the Parameter Server", OSDI 2014; J. Dean
et al., "Large Scale Distributed Deep Networks", NeurIPS 2012.
"""

from dataclasses import dataclass
from math import ceil
from operator import itemgetter
from typing import ClassVar

import torch

from raydl.algorithms.distributed.local import RateSchedule, scheduled, total_steps
from raydl.algorithms.movement import untrained
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
from raydl.core.errors import SpecError, require
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import total
from raydl.core.tree import Params
from raydl.optim import SGD, AnyOptimizer, UpdateRule, schedule
from raydl.optim.schedule import AnySchedule


@dataclass(frozen=True)
class ParameterServer(AlgorithmSpec):
    """Workers that push gradients to a server, whose optimizer makes the steps.

    Args:
        workers: number of workers (K); the training samples are dealt out to them.
        optimizer: of the server.
        schedule: schedule of the optimizer's learning rate.
        batch_size: samples of a worker's minibatch (B).
        steps: local steps from one push to the next (J), of plain SGD at the server's rate.
        exchanges: pushes of each worker in a round, after which the model may be scored and
            written down; as many as make an epoch by default.
    """

    workers: int = 4
    optimizer: AnyOptimizer = SGD()
    schedule: AnySchedule = schedule.Cosine()
    batch_size: int = 64
    steps: int = 1
    exchanges: int | None = None

    usual_runtime: ClassVar[str] = "parameter_server"

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size", "steps"):
            require(getattr(self, name) >= 1, f"algorithm.{name}", getattr(self, name), _POSITIVE)
        known = self.exchanges is None or self.exchanges >= 1
        require(known, "algorithm.exchanges", self.exchanges, f"{_POSITIVE}, or null for an epoch")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if a round is to be an epoch, or the rate follows the run's length, and
                neither is known.
        """
        exchanges = exchanges_of(self.exchanges, scope, self.batch_size * self.steps)
        total = total_steps(scope, self.batch_size, exchanges * self.steps)
        return _algorithm(
            self.optimizer.rule(),
            scheduled(self.optimizer, self.schedule, total),
            scope.updates or self.workers,
            Plan(self.batch_size, steps=self.steps, server_steps=exchanges),
        )


_POSITIVE = "1 or larger"


def exchanges_of(given: int | None, scope: Scope, samples: int) -> int:
    """The exchanges of a round: as many as are given, or as make an epoch.

    Args:
        given: the number; None for an epoch.
        scope: how long the run is.
        samples: that a worker trains on from one exchange to the next.

    Raises:
        SpecError: if a round is to be an epoch, and nobody knows how long that is.
    """
    if given is not None:
        return given
    if scope.epoch is None:
        raise SpecError("algorithm.exchanges is an epoch, whose length is open; give a number")
    return ceil(scope.epoch / samples)


def _algorithm(rule: UpdateRule, rate: RateSchedule, updates: int, plan: Plan) -> Algorithm:
    steps = plan.steps or 1

    def init(params: Params) -> ServerState:
        return {
            "params": params,
            "optimizer": rule.init(params),
            "step": torch.zeros((), dtype=torch.int64),
            # What the schedule follows: J for as many pushes as the run's length counts on in a
            # step of the server; behind ``step`` where the server steps with fewer.
            "trained": torch.zeros((), dtype=torch.float64),
        }

    def broadcast(state: ServerState) -> Broadcast:
        return {"params": state["params"]} | (
            {"lr": torch.as_tensor(rate(state["trained"])).float()} if steps > 1 else {}
        )

    def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
        lr, count = float(rate(state["trained"])), float(reduced["pushes"])
        grads, buffers = (
            tree.like(tree.scale(reduced[name], 1 / count), state["params"])
            for name in ("grads", "buffers")
        )
        params, optimizer = rule.update(state["params"] | buffers, grads, state["optimizer"], lr)
        return {
            "params": params,
            "optimizer": optimizer,
            "step": state["step"] + steps,
            "trained": state["trained"] + steps * count / updates,
        }, {"lr": torch.tensor(lr)}

    return Algorithm(
        init=init,
        params=itemgetter("params"),
        plan=lambda state: plan._replace(start_step=int(state["step"])),
        broadcast=broadcast,
        client=_worker(steps),
        reduce=total(),
        server=server,
        discount=lambda push, factor: push | {"grads": tree.scale(push["grads"], factor)},
        elementwise=rule.elementwise,
    )


def _worker(steps: int) -> Client:
    def init(broadcast: Broadcast, _kept: ClientState) -> LocalState:
        return broadcast | {"grads": {}, "buffers": {}}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        if steps == 1:
            return local | {"grads": grads, "buffers": buffers}, metrics
        params, before = local["params"] | buffers, local["grads"]
        moved = tree.map(lambda g, x: x - local["lr"] * g, grads, params)
        pushed = {name: g + before[name] if name in before else g for name, g in grads.items()}
        return {
            "params": params | tree.like(moved, params),
            "lr": local["lr"],
            "grads": before | pushed,
            "buffers": untrained(buffers, grads),
        }, metrics

    def final(_broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        pushed = {"grads": local["grads"], "buffers": local["buffers"]}
        return pushed | {"pushes": torch.ones(())}, {}

    return Client(init, step, final)
