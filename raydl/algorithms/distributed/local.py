"""What the local methods have in common: workers that train by themselves and synchronize.

In a round each of K workers takes J steps of an inner optimizer from the server's parameters, and
the outer optimizer makes one step of the mean of their movements:

    wₖ ← J steps of the inner optimizer from x on worker k's samples
    Δ ← Σₖ (wₖ − x) / K;   x ← outer step along Δ

Running statistics are no parameters: x takes the workers' mean of them.

The methods differ in the outer step, in how J is chosen, and in what becomes of the inner
optimizer's state at a synchronization. The workers go through their samples in one order, whatever
the rounds: cut into rounds of other lengths, the same minibatches follow each other.
"""

from collections.abc import Callable
from math import ceil
from operator import itemgetter
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from raydl.algorithms.distributed.intervals import Interval, TrainingProgress
from raydl.algorithms.movement import discount, movement, untrained
from raydl.core import tree
from raydl.core.algorithm import (
    Algorithm,
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
from raydl.core.errors import SpecError
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import mean
from raydl.core.tree import Params
from raydl.optim import OptimizerSpec, ScheduleSpec, UpdateRule, schedule
from raydl.optim.rule import OptimizerState, Rate

AtSync: TypeAlias = Literal["keep", "reset", "average"]
RateSchedule: TypeAlias = Callable[[Tensor], Rate]  # steps done -> learning rate


class ServerOptimizer(NamedTuple):
    """The step of the server, an optimizer on what the workers moved by.

    Attributes:
        init: parameters -> state.
        step: (params, delta, state, rate) -> (params, state), where delta is the workers' mean
            movement and rate the inner learning rate at the beginning of the round.
    """

    init: Callable[[Params], OptimizerState]
    step: Callable[[Params, Params, OptimizerState, Rate], tuple[Params, OptimizerState]]


def average() -> ServerOptimizer:
    """The plain mean: x ← x + Δ."""
    return ServerOptimizer(
        init=lambda params: {},
        step=lambda params, delta, state, rate: (params | tree.add(delta, params), state),
    )


def local_method(
    inner: UpdateRule,
    rate: RateSchedule,
    outer: ServerOptimizer,
    interval: Interval,
    batch_size: int,
    total: int | None,
    at_sync: AtSync,
) -> Algorithm:
    """The algorithm that these parts make.

    Args:
        inner: the workers' optimizer.
        rate: their learning rate.
        outer: the server's step.
        interval: how many local steps the coming round has.
        batch_size: samples of a minibatch.
        total: steps that each worker takes over the whole run, at which the last round ends; None
            if that is open.
        at_sync: whether a worker goes on with its own inner state after a synchronization, begins
            it anew, or takes the workers' mean.
    """

    def init(params: Params) -> ServerState:
        inner_state = inner.init(params)  # which refuses what the optimizer cannot take
        state = {
            "params": params,
            "outer": outer.init(params),
            "step": torch.zeros((), dtype=torch.int64),
            "loss": torch.full((2,), torch.nan),  # of the first round and of the last
        }
        return state | ({"inner": inner_state} if at_sync == "average" else {})

    def plan(state: ServerState) -> Plan:
        done = int(state["step"])
        first_loss, loss = state["loss"].tolist()
        first_rate, now = (float(rate(torch.tensor(at))) for at in (0, done))
        steps = interval(TrainingProgress(done, total, first_rate, now, first_loss, loss))
        left = steps if total is None or done >= total else total - done
        return Plan(batch_size, steps=min(steps, left), start_step=done)

    def broadcast(state: ServerState) -> Broadcast:
        sent = ("params", "step", "inner") if at_sync == "average" else ("params", "step")
        return {name: state[name] for name in sent}

    def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
        inner_rate, before = rate(state["step"]), state["params"]
        delta, buffers = (tree.like(reduced[name], before) for name in ("delta", "buffers"))
        params, outer_state = outer.step(before, delta, state["outer"], inner_rate)
        first = reduced["loss"] if state["loss"][0].isnan() else state["loss"][0]
        after = {
            "params": params | buffers,
            "outer": outer_state,
            "step": state["step"] + plan(state).steps,
            "loss": torch.stack([first, reduced["loss"]]),
        }
        after |= {"inner": reduced["inner"]} if at_sync == "average" else {}
        return after, {"lr": torch.as_tensor(inner_rate)}

    return Algorithm(
        init=init,
        params=itemgetter("params"),
        plan=plan,
        broadcast=broadcast,
        client=_worker(inner, rate, at_sync),
        reduce=mean(by_samples=False),  # all take as many steps of as many samples
        server=server,
        discount=discount,
        elementwise=True,
    )


def total_steps(scope: Scope, batch_size: int, steps: int | None) -> int | None:
    """The steps that each worker takes over a run.

    Args:
        scope: how long the run is.
        batch_size: samples of a minibatch.
        steps: of every round, if they are the same.
    """
    if scope.samples is not None:
        return max(1, ceil(scope.samples / batch_size))
    return None if steps is None or scope.rounds is None else scope.rounds * steps


def scheduled(optimizer: OptimizerSpec, given: ScheduleSpec, total: int | None) -> RateSchedule:
    """The learning rate at each of the steps that a worker takes over a run.

    Args:
        optimizer: optimizer of the worker.
        given: schedule of its rate.
        total: number of steps; None if that is open.

    Raises:
        SpecError: if the rate follows the run's length, and it is open.
    """
    if total is None and given != schedule.Constant():
        raise SpecError(
            "algorithm.schedule follows the length of the run, which is open; give it as --epochs "
            "or --rounds"
        )
    factor = given.build(total or 1)
    return lambda step: optimizer.lr * factor(step)


def _worker(inner: UpdateRule, rate: RateSchedule, at_sync: AtSync) -> Client:
    def start(broadcast: Broadcast) -> ClientState:
        return {"inner": inner.init(broadcast["params"])} if at_sync == "keep" else {}

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        given = {"keep": kept, "average": broadcast}.get(at_sync)
        return {
            "params": broadcast["params"],
            "inner": inner.init(broadcast["params"]) if given is None else given["inner"],
            "step": broadcast["step"],
            "loss": torch.zeros(()),
            "buffers": {},
        }

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        grads, buffers, metrics = gradient(local["params"], batch)
        params, lr = local["params"] | buffers, rate(local["step"])
        params, state = inner.update(params, grads, local["inner"], lr)
        return {
            "params": params,
            "inner": state,
            "step": local["step"] + 1,
            "loss": local["loss"] + metrics["loss"],
            "buffers": untrained(buffers, grads),
        }, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        message = movement(broadcast["params"], local["params"], local["buffers"])
        message |= {"loss": local["loss"] / (local["step"] - broadcast["step"])}
        message |= {"inner": local["inner"]} if at_sync == "average" else {}
        return message, {"inner": local["inner"]} if at_sync == "keep" else {}

    return Client(init, step, final, start)
