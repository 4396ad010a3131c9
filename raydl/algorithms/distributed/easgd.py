"""Elastic averaging SGD: workers that stay themselves, tied to a center by a spring.

A worker k takes J steps of its own optimizer from its own parameters xₖ; then it and the server's
center x̃ move towards each other:

    eₖ ← α (xₖ − x̃);   xₖ ← xₖ − eₖ;   x̃ ← x̃ + Σₖ eₖ

The paper's Kα = β is near 0.9 for any number of workers. On a server that does not wait, each
worker meets the center by itself: the paper's asynchronous EASGD, and with momentum its EAMSGD.

S. Zhang, A. Choromanska, Y. LeCun, "Deep Learning with Elastic Averaging SGD", NeurIPS 2015.
"""

from dataclasses import dataclass
from operator import itemgetter
from typing import ClassVar

import torch

from raydl.algorithms.distributed.parameterserver import exchanges_of
from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Algorithm,
    AlgorithmSpec,
    Client,
    ClientState,
    LocalState,
    Message,
    Plan,
    Scope,
    ServerState,
)
from raydl.core.errors import require
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import total
from raydl.core.tree import Params
from raydl.optim import SGD, AnyOptimizer, UpdateRule


@dataclass(frozen=True)
class EASGD(AlgorithmSpec):
    """Workers that keep their own parameters, and are drawn to a common center.

    Args:
        workers: number of workers (K); the training samples are dealt out to them.
        optimizer: optimizer of the workers.
        batch_size: samples of a worker's minibatch (B).
        steps: local steps from one meeting with the center to the next (J).
        moving_rate: α in (0, 1), the part of the way that each goes towards the other; by default
            0.9 / K, as in the paper.
        exchanges: meetings of each worker with the center in a round; as many as make an epoch by
            default.
    """

    workers: int = 4
    optimizer: AnyOptimizer = SGD()
    batch_size: int = 64
    steps: int = 10
    moving_rate: float | None = None
    exchanges: int | None = None

    usual_runtime: ClassVar[str] = "parameter_server"

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size", "steps"):
            value = getattr(self, name)
            require(value >= 1, f"algorithm.{name}", value, "1 or larger")
        known = self.exchanges is None or self.exchanges >= 1
        allowed = "1 or larger, or null for an epoch"
        require(known, "algorithm.exchanges", self.exchanges, allowed)
        rate = self.moving_rate
        allowed = "above 0 and below 1, or null"
        require(rate is None or 0 < rate < 1, "algorithm.moving_rate", rate, allowed)

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if a round is to be an epoch, and nobody knows how long that is.
        """
        exchanges = exchanges_of(self.exchanges, scope, self.batch_size * self.steps)
        plan = Plan(self.batch_size, steps=self.steps, server_steps=exchanges)
        rate = 0.9 / self.workers if self.moving_rate is None else self.moving_rate
        rule = self.optimizer.rule()

        def init(params: Params) -> ServerState:
            rule.init(params)  # which refuses what the optimizer cannot take
            return {"params": params, "step": torch.zeros((), dtype=torch.int64)}

        def server(state: ServerState, pull: Params) -> tuple[ServerState, Metrics]:
            moved = tree.add(state["params"], pull)
            return {"params": moved, "step": state["step"] + self.steps}, {}

        return Algorithm(
            init=init,
            params=itemgetter("params"),
            plan=lambda state: plan._replace(start_step=int(state["step"])),
            broadcast=itemgetter("params"),
            client=_worker(rule, self.optimizer.lr, rate),
            reduce=total(),
            server=server,
            elementwise=True,
        )


def _worker(rule: UpdateRule, lr: float, rate: float) -> Client:
    def start(center: Params) -> ClientState:
        return {"params": center, "inner": rule.init(center)}

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        params, inner = rule.update(local["params"] | buffers, grads, local["inner"], lr)
        return {"params": params, "inner": inner}, metrics

    def final(center: Params, local: LocalState) -> tuple[Message, ClientState]:
        pull = tree.scale(tree.sub(local["params"], center), rate)
        return pull, local | {"params": tree.sub(local["params"], pull)}

    return Client(lambda center, kept: kept, step, final, start)
