"""A worker of a parameter server: it trains on what it pulls, and pushes what comes of it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ray
from ray.exceptions import ObjectLostError, RayActorError

from raydl.core.algorithm import Plan, Work
from raydl.core.errors import SpecError
from raydl.core.reduce import sole
from raydl.core.tree import Tree
from raydl.runtimes.parameter_server.layout import Sharding
from raydl.runtimes.parameter_server.messages import Header, ShardProgress
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.problem_store import Arrays, attach_problem
from raydl.runtimes.ray_cluster.transport import Wire, fetch, from_wire, inline_if_small, to_wire
from raydl.runtimes.worker.block import BlockResult
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.evaluation import Score, Stretch
from raydl.runtimes.worker.worker import Worker


class ShardHandles(NamedTuple):
    """Whom a worker pushes to and pulls from.

    Attributes:
        shards: the actors.
        sequencer: the actor that says in which order they take what they are sent; None where the
            order does not count.
    """

    shards: list[Any]
    sequencer: Any | None


class ServerWorker:
    """The actor.

    Args:
        problem: problem that is to be learned, without the samples.
        arrays: the samples, or where they lie.
        number: of the worker, the client whose samples it trains on.
        sharding: how the parameters are cut over the shards.
        worker: options of the `Worker`.
    """

    def __init__(
        self,
        problem: Problem,
        arrays: Arrays,
        number: int,
        sharding: Sharding,
        **worker: Any,
    ) -> None:
        # A shard reduces what several workers sent: this one's message goes there as it is.
        algorithm = problem.algorithm._replace(reduce=sole())
        self._refusal: SpecError | None = None
        try:
            self._worker = Worker(
                attach_problem(replace(problem, algorithm=algorithm), arrays), **worker
            )
        except SpecError as error:  # raised here, it would be the actor's death
            self._refusal = error
        self._number, self._sharding = number, sharding
        self._table = ClientTable()
        self._finished: tuple[Work, BlockResult] | None = None  # but not pushed yet
        self._taken: int | None = None  # local steps, of a worker with a pace of its own

    def ready(self) -> SpecError | None:
        """Returns when the worker is built: what its node lacks, or nothing."""
        return self._refusal

    def train(self, servers: ShardHandles, plan: Plan, base: int | None) -> ShardProgress:
        """Pulls, trains and pushes until the shards send it home.

        Args:
            servers: the shards.
            plan: how long it trains from one push to the next, at the beginning of the round.
            base: the version at that time, from which the plan's first step is counted on; None
                if the worker goes on in its samples where it is, at its own pace.

        Returns:
            How far the shards were, as far as the worker knows.
        """
        known = ShardProgress(0, 0)
        while (answer := self._push_pull(servers)) is not None:
            known, broadcast = answer
            work = Work(known.version, (self._number,), self._due(plan, known.version, base))
            states = self._table.gather(work.clients)
            result = self._worker.train_block(work, broadcast, states)
            self._table.update(result.states)
            self._finished = work, result
        return known

    def evaluate(self, stretch: Stretch, params: Wire) -> Score:
        """The score on a stretch of a split."""
        return self._worker.evaluate(from_wire(params), stretch)

    def state(self) -> tuple[Wire, int | None]:
        """What the worker keeps; and local steps taken, if it has a pace of its own."""
        return to_wire(self._table.states().as_tree()), self._taken

    def restore(self, states: Wire, taken: int | None) -> None:
        """Takes up what the worker kept in an interrupted run, see `state`."""
        self._table = ClientTable(ClientStates.from_tree(from_wire(states)))
        self._taken, self._finished = taken, None

    def forget(self) -> None:
        """Lets go of what was not pushed yet."""
        self._finished = None

    def _due(self, plan: Plan, version: int, base: int | None) -> Plan:
        """The plan of the next local steps."""
        if plan.start_step is None or plan.steps is None:
            return plan
        if base is not None:
            return plan._replace(start_step=plan.start_step + (version - base) * plan.steps)
        first = plan.start_step if self._taken is None else self._taken
        self._taken = first + plan.steps
        return plan._replace(start_step=first)

    def _push_pull(self, servers: ShardHandles) -> tuple[ShardProgress, Tree] | None:
        """Pushes what is finished, if anything is, and pulls; None if there is no more to do."""
        begun = self._finished[0].step if self._finished else None
        ticket = None
        if servers.sequencer is not None:
            ticket = ray.get(servers.sequencer.ticket.remote(self._number, begun))
            if ticket is None:
                return None
        header, parts = Header(self._number, ticket, begun), [None] * len(servers.shards)
        if self._finished:
            work, result = self._finished
            row = {name: float(each[0]) for name, each in result.clients.items()}
            row |= {} if work.plan.start_step is None else {"first": float(work.plan.start_step)}
            header = header._replace(row=row)
            if row["finite"]:
                parts = self._sharding.cut(result.accumulator)
            self._finished = None
        calls = [
            shard.push_pull.remote(*_message(header, part))
            for shard, part in zip(servers.shards, parts, strict=True)
        ]
        answers = [answer for call in calls if (answer := _answer(call)) is not None]
        if len(answers) < len(calls):
            return None
        # All shards are at one version; a worker that died may have pushed to some of them only.
        known = max(answer[0] for answer in answers)
        assert {answer[0].version for answer in answers} == {known.version}
        return known, self._sharding.join([from_wire(part) for _, part in answers])


def _message(header: Header, part: Tree | None) -> Sequence[Any]:
    if part is None:
        return [header]
    wire = to_wire(part)
    return header._replace(length=wire.nbytes), inline_if_small(wire, wire.nbytes)


def _answer(call: ray.ObjectRef[Any]) -> tuple[ShardProgress, Wire] | None:
    try:
        answer = ray.get(call)
        return answer and (answer[0], fetch(answer[1]))
    except (RayActorError, ObjectLostError):  # of a shard that was lost: the driver replaces it
        return None
