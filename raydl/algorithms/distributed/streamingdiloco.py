"""Streaming DiLoCo: the parameters in fragments that synchronize by turns, beside the training.

Each worker goes on from its own parameters w; after every H / P local steps the next one of P
fragments f is due, so that each is synchronized every H steps:

    Δ ← Q(Σₖ (wₖ − a) / K)[f],  a the parameters of f as they last came from the server
    x[f] ← outer step of Nesterov momentum along Δ
    w[f] ← α w[f] + (1 − α) x[f],  τ local steps later

With Q the messages are quantized, to 4 bits in the paper. Only the fragment travels by an
all-reduce, and to a server; that sends all of x, so that a worker may begin in any round. One
fragment, no overlap (τ = 0, α = 0) and no quantization are DiLoCo. Buffers, such as running
statistics, are no parameters: those of the fragment are averaged as they are.

A. Douillard et al., "Streaming DiLoCo with Overlapping Communication: Towards a Distributed Free
Lunch", 2025 (arXiv:2501.18512).
"""

from collections.abc import Callable
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal, TypeAlias

import torch

from raydl.algorithms.distributed import e3m0
from raydl.algorithms.distributed.diloco import DiLoCo
from raydl.algorithms.distributed.local import RateSchedule, scheduled, total_steps
from raydl.algorithms.movement import movement, untrained
from raydl.core import tree
from raydl.core.algorithm import (
    UNKNOWN_SCOPE,
    Accumulator,
    Algorithm,
    AlgorithmSpec,
    Broadcast,
    Client,
    ClientState,
    LocalState,
    Message,
    Plan,
    Reduce,
    Reduced,
    Scope,
    ServerState,
    Update,
)
from raydl.core.errors import SpecError, require
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.reduce import mean
from raydl.core.tree import Params
from raydl.optim import AdamW, AnyOptimizer, UpdateRule, schedule
from raydl.optim.schedule import AnySchedule

Quantization: TypeAlias = Literal["none", "bf16", "e3m0"]


@dataclass(frozen=True)
class StreamingDiLoCo(AlgorithmSpec):
    """DiLoCo whose parameters synchronize in fragments, beside the training, in few bits.

    Args:
        workers: number of workers (K); the training samples are dealt out to them.
        optimizer: optimizer of the workers.
        schedule: schedule of the optimizer's learning rate.
        batch_size: samples of a worker's minibatch (B).
        steps: local steps from one synchronization of a fragment to its next (H), a multiple of
            the fragments. A round has as many as lie between two fragments.
        fragments: number of fragments that the parameters are cut into (P), of similar size.
        overlap: local steps that a worker goes on before it takes up a fragment (τ), fewer than a
            round has.
        keep: part that a worker keeps of its own parameters where it takes up a fragment (α), in
            [0, 1).
        quantization: numbers that the workers send: as they are, of 16 bits, or of 4.
        outer_lr: learning rate of the outer steps.
        outer_momentum: Nesterov momentum of the outer steps, in [0, 1).
    """

    workers: int = 4
    optimizer: AnyOptimizer = AdamW()
    schedule: AnySchedule = schedule.Cosine()
    batch_size: int = 64
    steps: int = 100
    fragments: int = 4
    overlap: int = 1
    keep: float = 0.5
    quantization: Quantization = "e3m0"
    outer_lr: float = 0.4
    outer_momentum: float = 0.9

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size", "steps", "fragments"):
            value = getattr(self, name)
            require(value >= 1, f"algorithm.{name}", value, "1 or larger")
        whole = self.steps % self.fragments == 0
        allowed = f"a multiple of the {self.fragments} fragments"
        require(whole, "algorithm.steps", self.steps, allowed)
        each = self.steps // self.fragments
        allowed = f"0 or larger, and smaller than the {each} local steps of a round"
        require(0 <= self.overlap < each, "algorithm.overlap", self.overlap, allowed)
        require(0 <= self.keep < 1, "algorithm.keep", self.keep, "in [0, 1)")
        self._diloco()

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if the rate follows the run's length, and it is open; from ``init``, if
                there are fewer parameters than fragments.
        """
        each = self.steps // self.fragments
        total = total_steps(scope, self.batch_size, each)
        rate = scheduled(self.optimizer, self.schedule, total)
        inner, outer = self.optimizer.rule(), self._diloco().outer()

        def init(params: Params) -> ServerState:
            inner.init(params)  # which refuses what the optimizer cannot take
            _check(params, self)
            zero = torch.zeros((), dtype=torch.int64)
            return {"params": params, "outer": outer.init(params), "step": zero, "round": zero}

        def plan(state: ServerState) -> Plan:
            done = int(state["step"])
            left = each if total is None or done >= total else total - done
            return Plan(self.batch_size, steps=min(each, left), start_step=done)

        def broadcast(state: ServerState) -> Broadcast:
            fragments, number = fragments_of(state["params"], self.fragments), int(state["round"])
            due = fragments[number % self.fragments]
            arrived = fragments[(number - 1) % self.fragments] if number else []
            names = {"due": due, "arrived": arrived}
            told = {kind: {name: torch.empty(0) for name in names[kind]} for kind in names}
            return told | {"params": state["params"], "step": state["step"]}

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            before, lr = state["params"], rate(state["step"])
            delta = {  # flat if it was quantized, and padded
                name: flat.flatten()[: before[name].numel()].view_as(before[name])
                for name, flat in reduced["delta"].items()
            }
            params, moments = outer.step(before, tree.like(delta, before), state["outer"], lr)
            return {
                "params": params | tree.like(reduced["buffers"], before),
                "outer": moments,
                "step": state["step"] + plan(state).steps,
                "round": state["round"] + 1,
            }, {"lr": torch.as_tensor(lr)}

        average = mean(by_samples=False)  # all take as many steps of as many samples
        return Algorithm(
            init=init,
            params=itemgetter("params"),
            plan=plan,
            broadcast=broadcast,
            client=_worker(inner, rate, self),
            reduce=_decoded(average) if self.quantization == "e3m0" else average,
            server=server,
        )

    def _diloco(self) -> DiLoCo:
        return DiLoCo(outer_lr=self.outer_lr, outer_momentum=self.outer_momentum)


def fragments_of(params: Params, count: int) -> list[list[str]]:
    """The names of the parameters in so many fragments: the largest first, to the smallest."""
    fragments: list[list[str]] = [[] for _ in range(count)]
    sizes = [0] * count
    for name in sorted(params, key=lambda name: (-params[name].numel(), name)):
        smallest = min(range(count), key=lambda at: (sizes[at], len(fragments[at])))
        fragments[smallest].append(name)
        sizes[smallest] += params[name].numel()
    return fragments


def _check(params: Params, spec: StreamingDiLoCo) -> None:
    allowed = f"at most {len(params)}, the number of the model's tensors"
    require(spec.fragments <= len(params), "algorithm.fragments", spec.fragments, allowed)
    numbers = [name for name, each in params.items() if each.is_complex()]
    if numbers and spec.quantization != "none":
        raise SpecError(
            f"algorithm.quantization is {spec.quantization!r}, but the parameter {numbers[0]} is "
            "complex; set it to none"
        )


def _worker(inner: UpdateRule, rate: RateSchedule, spec: StreamingDiLoCo) -> Client:
    def start(broadcast: Broadcast) -> ClientState:
        params = broadcast["params"]
        return {"params": params, "anchor": params, "inner": inner.init(params)}

    def take_up(params: Params, arrived: Params) -> Params:
        return {name: torch.lerp(each, params[name], spec.keep) for name, each in arrived.items()}

    def init(broadcast: Broadcast, kept: ClientState) -> LocalState:
        arrived = {name: broadcast["params"][name] for name in broadcast["arrived"]}
        params = kept["params"]
        if spec.overlap == 0:
            params = params | take_up(params, arrived)
        return {
            "params": params,
            "anchor": kept["anchor"] | arrived,
            "inner": kept["inner"],
            "arrived": {} if spec.overlap == 0 else arrived,
            "first": broadcast["step"],
            "step": broadcast["step"],
            "buffers": {},
        }

    def step(gradient: Gradient, local: LocalState, batch: Batch) -> tuple[LocalState, Metrics]:
        params, now = local["params"], local["step"] - local["first"] == spec.overlap
        taken = take_up(params, local["arrived"])
        params = params | {name: torch.where(now, taken[name], params[name]) for name in taken}
        grads, buffers, metrics = gradient(params, batch)
        params, state = inner.update(params | buffers, grads, local["inner"], rate(local["step"]))
        return local | {
            "params": params,
            "inner": state,
            "step": local["step"] + 1,
            "buffers": untrained(buffers, grads),
        }, metrics

    def final(broadcast: Broadcast, local: LocalState) -> tuple[Message, ClientState]:
        due = {name: local["params"][name] for name in broadcast["due"]}
        buffers = {name: each for name, each in local["buffers"].items() if name in due}
        message = movement(local["anchor"], due, buffers)
        sent = message | {"delta": _QUANTIZE[spec.quantization](message["delta"])}
        return sent, {name: local[name] for name in ("params", "anchor", "inner")}

    return Client(init, step, final, start)


_QUANTIZE: dict[Quantization, Callable[[Params], Message]] = {
    "none": lambda delta: delta,
    "bf16": lambda delta: tree.map(torch.Tensor.bfloat16, delta),
    "e3m0": e3m0.encode,
}


def _decoded(reduce: Reduce) -> Reduce:
    """The reduction of messages whose ``delta`` comes in codes."""

    def decode(message: Message) -> Message:
        return message | {"delta": e3m0.decode(message["delta"])}

    def add(accumulator: Accumulator, update: Update) -> Accumulator:
        return reduce.add(accumulator, update._replace(message=decode(update.message)))

    assert reduce.stacked is not None
    fast = reduce.stacked
    return reduce._replace(
        add=add, stacked=lambda messages, samples: fast(decode(messages), samples)
    )
