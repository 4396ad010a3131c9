"""A worker of a parameter server: it trains on what it pulls, and pushes what comes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from ray.exceptions import ObjectLostError, RayActorError

from raydl.core.algorithm import Plan, Work
from raydl.core.reduce import sole
from raydl.core.tree import Tree
from raydl.runtimes.block import Folded
from raydl.runtimes.evaluation import Score, Stretch
from raydl.runtimes.messages import Header, Progress
from raydl.runtimes.problem import Problem
from raydl.runtimes.sharding import Sharding
from raydl.runtimes.shared import Wire, arrived, attached, received, travelling, wired
from raydl.runtimes.worker import Worker


class Servers(NamedTuple):
    """Whom a worker pushes to and pulls from.

    Attributes:
        shards: the actors.
        sequencer: the actor that says in which order they take what they are sent; None where the
            order does not count.
    """

    shards: list[Any]
    sequencer: Any | None


class Trainer:
    """The actor.

    Args:
        problem: what is to be learned, without the samples.
        arrays: the samples.
        number: of the worker, the client whose samples it trains on.
        sharding: how the parameters are cut over the shards.
        worker: options of the `Worker`.
    """

    def __init__(
        self,
        problem: Problem,
        arrays: dict[str, np.ndarray],
        number: int,
        sharding: Sharding,
        **worker: Any,
    ) -> None:
        # A shard reduces what several workers sent: this one's message goes there as it is.
        algorithm = problem.algorithm._replace(reduce=sole())
        self._worker = Worker(attached(replace(problem, algorithm=algorithm), arrays), **worker)
        self._number, self._sharding = number, sharding
        self._kept: dict[int, Tree] = {}
        self._finished: tuple[Work, Folded] | None = None  # but not pushed yet
        self._clients = len(problem.partition)
        self._taken: int | None = None  # local steps, of a worker with a pace of its own

    def ready(self) -> None:
        """Returns when the worker is built, or raises what hindered it."""

    def train(self, servers: Servers, plan: Plan, base: int | None) -> Progress:
        """Pulls, trains and pushes until the shards send it home.

        Args:
            servers: the shards.
            plan: how long it trains from one push to the next, at the beginning of the round.
            base: the version at that time, from which the plan's first step is counted on; None
                if the worker goes on in its samples where it is, at its own pace.

        Returns:
            How far the shards were, as far as the worker knows.
        """
        known = Progress(0, 0)
        while (answer := self._exchange(servers)) is not None:
            known, broadcast = answer
            work = Work(known.version, (self._number,), self._due(plan, known.version, base))
            folded = self._worker.fold(work, broadcast, self._kept)
            self._kept |= folded.kept
            self._finished = work, folded
        return known

    def evaluate(self, stretch: Stretch, params: Wire) -> Score:
        """The score on a stretch of a split."""
        return self._worker.evaluate(received(params), stretch)

    def kept(self) -> dict[int, Wire]:
        """What the worker keeps, and behind the clients where it is in its samples."""
        wires = {client: wired(keep) for client, keep in self._kept.items()}
        if self._taken is not None:
            wires[self._clients + self._number] = wired({"taken": torch.tensor(self._taken)})
        return wires

    def restore(self, kept: dict[int, Wire]) -> None:
        """Takes up what is its own of what the workers kept in an interrupted run."""
        own = {number: received(kept[number]) for number in kept if number == self._number}
        place = kept.get(self._clients + self._number)
        self._taken = None if place is None else int(received(place)["taken"])
        self._kept, self._finished = own, None

    def forget(self) -> None:
        """Lets go of what was not pushed yet."""
        self._finished = None

    def _due(self, plan: Plan, version: int, base: int | None) -> Plan:
        """The plan of the next local steps."""
        if plan.first is None or plan.steps is None:
            return plan
        if base is not None:
            return plan._replace(first=plan.first + (version - base) * plan.steps)
        first = plan.first if self._taken is None else self._taken
        self._taken = first + plan.steps
        return plan._replace(first=first)

    def _exchange(self, servers: Servers) -> tuple[Progress, Tree] | None:
        """Pushes what is finished, if anything is, and pulls; None if there is no more to do."""
        begun = self._finished[0].round if self._finished else None
        ticket = None
        if servers.sequencer is not None:
            ticket = ray.get(servers.sequencer.ticket.remote(self._number, begun))
            if ticket is None:
                return None
        header, parts = Header(self._number, ticket, begun), [None] * len(servers.shards)
        if self._finished:
            work, folded = self._finished
            row = {name: float(each[0]) for name, each in folded.clients.items()}
            row |= {} if work.plan.first is None else {"first": float(work.plan.first)}
            header = header._replace(row=row)
            if row["finite"]:
                parts = self._sharding.cut(folded.accumulator)
            self._finished = None
        calls = [
            shard.exchange.remote(*_message(header, part))
            for shard, part in zip(servers.shards, parts, strict=True)
        ]
        answers = [_answer(call) for call in calls]
        if any(answer is None for answer in answers):
            return None
        # All shards are at one version; a worker that died may have pushed to some of them only.
        known = max(answer[0] for answer in answers)
        assert {answer[0].version for answer in answers} == {known.version}
        return known, self._sharding.join([received(part) for _, part in answers])


def _message(header: Header, part: Tree | None) -> Sequence[Any]:
    if part is None:
        return [header]
    wire = wired(part)
    return header._replace(length=wire.nbytes), travelling(wire, wire.nbytes)


def _answer(call: ray.ObjectRef) -> tuple[Progress, Wire] | None:
    try:
        answer = ray.get(call)
        return answer and (answer[0], arrived(answer[1]))
    except (RayActorError, ObjectLostError):  # of a shard that was lost: the driver replaces it
        return None
