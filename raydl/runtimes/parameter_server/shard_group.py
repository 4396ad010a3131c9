"""A parameter server's shards as the driver sees them: told of rounds, and replaced if lost."""

import warnings
from collections.abc import Callable
from operator import attrgetter
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from raydl.core import tree
from raydl.core.errors import Notice
from raydl.core.tree import Tree
from raydl.runtimes.asynchrony.consistency import Consistency
from raydl.runtimes.parameter_server.layout import Sharding
from raydl.runtimes.parameter_server.messages import ShardProgress, Snapshot
from raydl.runtimes.parameter_server.sequencer import Sequencer
from raydl.runtimes.parameter_server.shard import Shard
from raydl.runtimes.parameter_server.snapshots import SnapshotStore, unseal
from raydl.runtimes.parameter_server.worker import ShardHandles
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import beside_driver
from raydl.runtimes.ray_cluster.transport import from_wire, to_wire
from raydl.runtimes.ray_cluster.worker_group import WorkerLostError

_ATTEMPTS = 10  # to start a shard


class ShardGroup:
    """The actors that hold the parameters, and those beside them.

    Args:
        problem: whose algorithm's server they run.
        sharding: what each of them holds.
        consistency: when they make their steps.
        snapshot: steps from one snapshot of a shard to the next.

    Attributes:
        servers: whom workers push to and pull from.
        state: that all of them held at the end of the last round; None before the first.
        lost: pushes, with the shards that had taken them.
    """

    def __init__(
        self, problem: Problem, sharding: Sharding, consistency: Consistency, snapshot: int
    ) -> None:
        sizes = problem.partition.sizes.tolist()
        waits_for_all = consistency.barrier and consistency.quorum(len(sizes)) == len(sizes)
        here = beside_driver()
        sequencer = None if waits_for_all else ray.remote(Sequencer).options(**here).remote()
        snapshots: Any = ray.remote(SnapshotStore).options(max_restarts=-1, **here).remote()
        shard = ray.remote(num_cpus=0)(Shard)
        self._start: Callable[[int], Any] = lambda number: shard.remote(
            number,
            problem.algorithm,
            problem.seed,
            sharding.shards[number],
            sizes,
            consistency,
            snapshot,
            snapshots,
        )
        self._sharding, self._snapshots = sharding, snapshots
        self._begin: list[Snapshot] = []  # of the round, by shard
        started = [self._start(number) for number in range(len(sharding.shards))]
        self.servers = ShardHandles(started, sequencer)
        self.state: Tree = None
        self.lost = 0

    def __len__(self) -> int:
        return len(self.servers.shards)

    @property
    def begun(self) -> ShardProgress:
        """How far they were when the round began."""
        return self._begin[0].progress

    def load(self, state: Tree, version: int) -> None:
        """Cuts a server's state over the shards."""
        start = ShardProgress(version, 0)
        self._begin = [Snapshot(start, to_wire(part), [], {}) for part in self._sharding.cut(state)]
        pairs = zip(self.servers.shards, self._begin, strict=True)
        ray.get([shard.load.remote(snapshot) for shard, snapshot in pairs])

    def open(
        self, goal: ShardProgress, now: ShardProgress, workers: list[int], *, fresh: bool
    ) -> None:
        """Has them serve these workers until the goal is reached."""
        ticket, sequencer = 0, self.servers.sequencer
        if sequencer is not None:
            ticket = ray.get(sequencer.open.remote(goal.pushes - now.pushes))
        self._tell("open", goal, ticket, workers, fresh=fresh)

    def close(self) -> list[ShardProgress | None]:
        """Has them send all workers home; how far each of them is, None of one that is lost."""
        return self._tell("close")

    def leave(self, worker: int) -> None:
        """Has them go on without a worker."""
        last, sequencer = None, self.servers.sequencer
        if sequencer is not None:
            last = ray.get(sequencer.last.remote(worker))
        self._tell("leave", worker, last)

    def gather(self) -> tuple[list[dict[str, float]], dict[str, float]]:
        """Takes up the state that they hold now.

        Returns:
            The rows of the round's pushes; and the server's metrics that are the same on all
            shards: others are of a shard's part of the parameters, not of the model.
        """
        ended = ray.get([shard.gather.remote() for shard in self.servers.shards])
        parts = [tree.map(torch.clone, from_wire(each.state)) for each in ended]
        self._begin = [
            each._replace(state=to_wire(part), rows=[], metrics={})
            for each, part in zip(ended, parts, strict=True)
        ]
        self.state = self._sharding.join(parts)
        agreed = set.intersection(*(set(each.metrics.items()) for each in ended))
        return max((each.rows for each in ended), key=len), dict(sorted(agreed))

    def restore_lost(self, known: ShardProgress) -> ShardProgress:
        """How far they are, after those of them that were lost are there again.

        Args:
            known: how far a worker saw them.

        Raises:
            WorkerLostError: if one of them is lost again and again.
        """
        progress = self.close()
        lost = [number for number, each in enumerate(progress) if each is None]
        if not lost:
            assert progress[0] is not None
            return progress[0]
        known = max([known, *filter(None, progress)])
        self._tell("drop")  # what the others gathered for a step that those never heard of
        held = [
            self._newest(number) if number in lost else ray.get(shard.gather.remote())
            for number, shard in enumerate(self.servers.shards)
        ]
        # All that every shard has of, the count of steps, is as those have it that were not lost.
        model = next((number for number in range(len(held)) if number not in lost), lost[0])
        state = self._sharding.join([from_wire(each.state) for each in held], model)
        for number, part in enumerate(self._sharding.cut(state)):
            if number in lost:
                self._replace(number, held[model]._replace(state=to_wire(part)))
        # A snapshot may hold pushes whose workers never heard that they were taken.
        gone = max(0, *(known.pushes - held[number].progress.pushes for number in lost))
        self.lost += gone
        warnings.warn(
            f"shards {lost} of the parameter server were lost and went on from their newest "
            f"snapshots: their part of at most {gone} pushes is lost",
            Notice,
            stacklevel=2,
        )
        return held[model].progress

    def end(self) -> None:
        """Ends the actors."""
        for actor in [*self.servers.shards, self._snapshots, self.servers.sequencer]:
            if actor is not None:
                ray.kill(actor)

    def _replace(self, number: int, snapshot: Snapshot) -> None:
        """Starts a shard in the place of one that was lost.

        It is lost as well if Ray starts it on a node of which it does not know yet that it is dead.
        """
        for _ in range(_ATTEMPTS):
            self.servers.shards[number] = shard = self._start(number)
            try:
                ray.get(shard.load.remote(snapshot))
                return
            except RayActorError:
                continue
        raise WorkerLostError(f"shard {number} of the parameter server is lost as it starts")

    def _newest(self, number: int) -> Snapshot:
        """What is left of a shard that was lost."""
        kept, begin = get_or_none(self._snapshots.newest.remote(number)), self._begin[number]
        snapshot = begin if kept is None else unseal(kept)
        return max(begin, snapshot, key=attrgetter("progress"))

    def _tell(self, method: str, *args: Any, **options: Any) -> list[Any]:
        """Calls a method of every shard; the answers, None of a shard that was lost."""
        calls = [getattr(shard, method).remote(*args, **options) for shard in self.servers.shards]
        return [get_or_none(call) for call in calls]


def get_or_none(call: ray.ObjectRef[Any]) -> Any:
    """What a call gives; None if its actor was lost."""
    try:
        return ray.get(call)
    except RayActorError:
        return None
