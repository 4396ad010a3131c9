"""The runtime of a parameter server: shards that hold the parameters, and workers that train.

Workers push to the shards and pull from them directly; the driver only says how far a round goes,
gathers the state when it is over, and replaces who is lost. Every shard runs the algorithm's own
server on its part of the state.

A round's rows (`Round.clients`) are in the order in which the shards took the pushes, and say for
each of them at which version its worker began and how many steps of the server it was old. One
process that follows them does the same again, bit for bit (`raydl.runtimes.simulated.replayed`).
"""

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Work
from raydl.core.errors import Notice, require
from raydl.core.tree import Params, Tree
from raydl.runtimes.block import Kept
from raydl.runtimes.consistency import Consistency, Synchronous
from raydl.runtimes.crew import Crew, WorkerLostError
from raydl.runtimes.evaluation import Score, stretches
from raydl.runtimes.messages import Progress, Snapshot, columns, training_seconds
from raydl.runtimes.metrics import Metrics
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Advanced, Reduced, Runtime, star
from raydl.runtimes.sequencer import Sequencer, Vault
from raydl.runtimes.shard import Shard
from raydl.runtimes.sharding import sharding
from raydl.runtimes.shared import Wire, received, share, wired
from raydl.runtimes.trainer import Servers, Trainer

_ATTEMPTS = 10  # to end a round in which shards are lost, or a score
_ENDLESS = 1 << 62  # pushes


class ShardedServer(Runtime):
    """Runs a problem's workers around a parameter server; Ray must be connected.

    Args:
        problem: what is to be learned; every client of it is a worker, and takes part in each
            round.
        shards: how many actors hold the parameters, S.
        consistency: when the server makes its steps.
        snapshot: steps of the server from one snapshot of a shard to the next.
        cpus: logical CPUs that each worker reserves; the shards reserve none.
        gpus: GPUs that each worker reserves, and trains on.
        threads: of torch, in each worker.

    Raises:
        SpecError: see `sharding`.
    """

    def __init__(
        self,
        problem: Problem,
        shards: int = 1,
        consistency: Consistency | None = None,
        snapshot: int = 10,
        cpus: float = 1,
        gpus: float = 0,
        threads: int = 1,
    ) -> None:
        self._problem, self._consistency = problem, consistency or Synchronous()
        self._sharding = sharding(problem, shards, self._consistency)
        shared = share(problem)
        workers = len(problem.partition)
        waits_for_all = self._consistency.enough(workers) == workers and self._consistency.barrier
        self._vault = ray.remote(num_cpus=0, max_restarts=-1)(Vault).remote()
        sequencer = None if waits_for_all else ray.remote(num_cpus=0)(Sequencer).remote()
        shard, trainer = ray.remote(num_cpus=0)(Shard), ray.remote(Trainer)
        trainer = trainer.options(num_cpus=cpus, num_gpus=gpus)
        device = "cuda" if gpus else "cpu"
        self._start_shard: Callable[[int], Any] = lambda number: shard.remote(
            number,
            problem.algorithm,
            self._sharding.shards[number],
            problem.partition.sizes.tolist(),
            self._consistency,
            snapshot,
            self._vault,
        )
        self._servers = Servers([self._start_shard(each) for each in range(shards)], sequencer)
        self._crew = Crew(
            lambda number: trainer.remote(
                *shared, number, self._sharding, threads=threads, device=device
            ),
            workers,
        )
        self._crew.ready(workers)
        self._begin: list[Snapshot] = []  # of the round, by shard
        self._state: Tree = None
        self._metrics = Metrics()
        self.lost = 0  # pushes, with the shards that had taken them

    def advance(self, algorithm: Algorithm, state: Tree, work: Work) -> Advanced:
        """Has the workers train until the server has made the round's steps.

        Where the server does not wait for all workers, those are the steps of as many pushes as
        the round would have if it did.
        """
        workers, barrier, lost = len(self._crew.actors), self._consistency.barrier, self.lost
        everyone = work.clients == tuple(range(workers))
        require(everyone, "the cohort", work.clients, f"all {workers} workers of the server")
        if state is not self._state:
            self._load(state, self._version(work))
        base = self._begin[0].progress
        goal = Progress(base.version + work.plan.exchanges, _ENDLESS)
        if not barrier:
            goal = Progress(_ENDLESS, base.pushes + workers * work.plan.exchanges)
        now = base
        for _ in range(_ATTEMPTS):
            ready = self._crew.ready()
            self._open(goal, now, ready, fresh=now is base)
            now = self._restored(self._train(ready, work, base.version if barrier else None))
            if now.version >= goal.version or now.pushes >= goal.pushes:
                break
        else:
            raise WorkerLostError(f"a round could not be ended in {_ATTEMPTS} attempts")
        ended = ray.get([shard.gather.remote() for shard in self._servers.shards])
        clients = columns(max((each.rows for each in ended), key=len), barrier)
        parts = [tree.map(torch.clone, received(each.state)) for each in ended]
        self._begin = [
            each._replace(state=wired(part), rows=[])
            for each, part in zip(ended, parts, strict=True)
        ]
        self._state = state = self._sharding.join(parts)
        traffic = star(algorithm, algorithm.broadcast(state), clients)
        traffic = traffic._replace(
            messages=traffic.messages * len(ended),
            lost=self.lost - lost,
            late=int((clients["staleness"] > 0).sum()) if barrier else 0,
        )
        return Advanced(state, clients, traffic, training_seconds(clients, barrier), {})

    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Nothing that a server does: it steps as the pushes come, see `advance`."""
        raise NotImplementedError("a parameter server advances by whole rounds")

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores on the workers, before they begin with the next round."""
        sent = ray.put(wired(params))
        parts = list(stretches(self._problem.dataset, split))

        def begin(at: int, ready: list[int]) -> tuple[int, Any, ray.ObjectRef]:
            number = ready[at % len(ready)]
            actor = self._crew.actors[number]
            return number, actor, actor.evaluate.remote(parts[at], sent)

        ready = self._crew.ready()
        begun = [begin(at, ready) for at in range(len(parts))]

        def score(at: int) -> Score:
            for _ in range(_ATTEMPTS):
                number, actor, call = begun[at]
                try:
                    return ray.get(call)
                except RayActorError:
                    self._crew.replace(number, actor)
                    begun[at] = begin(at, self._crew.ready())
            raise WorkerLostError(f"scoring {parts[at]} ended one worker after the other")

        return lambda: sum(map(score, range(len(parts))), Score())

    def kept(self) -> Kept:
        """What every worker keeps by now; one that was lost has lost it.

        Behind the clients, for workers that go through their samples each at its own pace, stands
        where each of them is.
        """
        wires: dict[int, Wire] = {}
        for number in self._crew.ready():
            wires |= _settled(self._crew.actors[number].kept.remote()) or {}
        return {number: tree.map(torch.clone, received(keep)) for number, keep in wires.items()}

    def restore(self, kept: Kept) -> None:
        """Takes up what the workers of an interrupted run kept."""
        wires = {number: wired(keep) for number, keep in kept.items()}
        for number in self._crew.ready():
            _settled(self._crew.actors[number].restore.remote(wires))

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray."""
        self._metrics.report(run, row, self._crew.up, self._crew.restarts)

    def close(self) -> None:
        """Ends the actors."""
        self._crew.close()
        for actor in [*self._servers.shards, self._vault, self._servers.sequencer]:
            if actor is not None:
                ray.kill(actor)

    def _version(self, work: Work) -> int:
        """The steps that the server has made before a round."""
        exchanges, workers = work.round * work.plan.exchanges, len(self._crew.actors)
        enough = workers if self._consistency.barrier else self._consistency.enough(workers)
        return exchanges * workers // enough

    def _load(self, state: Tree, version: int) -> None:
        """Cuts a state over the shards; what the workers had not pushed yet is forgotten."""
        start = Progress(version, 0)
        self._begin = [Snapshot(start, wired(part), []) for part in self._sharding.cut(state)]
        pairs = zip(self._servers.shards, self._begin, strict=True)
        ray.get([shard.load.remote(snapshot) for shard, snapshot in pairs])
        for actor in self._crew.actors:
            actor.forget.remote()

    def _open(self, goal: Progress, now: Progress, workers: list[int], fresh: bool) -> None:
        ticket, sequencer = 0, self._servers.sequencer
        if sequencer is not None:
            ticket = ray.get(sequencer.open.remote(goal.pushes - now.pushes))
        self._tell("open", goal, ticket, workers, fresh)

    def _train(self, workers: list[int], work: Work, base: int | None) -> Progress:
        """Waits until all workers have been sent home; returns how far they saw the server."""

        def begin(number: int) -> tuple[ray.ObjectRef, int]:
            call = self._crew.actors[number].train.remote(self._servers, work.plan, base)
            return call, number

        running, known = dict(map(begin, workers)), Progress(0, 0)
        while running:
            (ended,), _ = ray.wait([*running, *self._crew.starting], num_returns=1)
            if ended in self._crew.starting:
                number = self._crew.started(ended)
                if self._servers.sequencer is None:
                    self._tell("close")  # to be taken in by all shards at the same version
                elif number is not None:
                    running |= [begin(number)]
                continue
            number = running.pop(ended)
            try:
                known = max(known, ray.get(ended))
            except RayActorError:
                self._replace(number)
            else:
                self._tell("close")
        return known

    def _replace(self, number: int) -> None:
        """Has the shards go on without a worker, and starts another in its place."""
        last, sequencer = None, self._servers.sequencer
        if sequencer is not None:
            last = ray.get(sequencer.last.remote(number))
        self._tell("leave", number, last)
        self._crew.replace(number, self._crew.actors[number])

    def _restored(self, known: Progress) -> Progress:
        """How far the server is, after those of its shards that were lost are there again."""
        progress = self._tell("close")
        lost = [number for number, each in enumerate(progress) if each is None]
        if not lost:
            return progress[0]
        known = max([known, *filter(None, progress)])
        self._tell("drop")  # what the others gathered for a step that those never heard of
        held = [
            self._newest(number) if number in lost else ray.get(shard.gather.remote())
            for number, shard in enumerate(self._servers.shards)
        ]
        # All that every shard has of, the count of steps, is as those have it that were not lost.
        model = next((number for number in range(len(held)) if number not in lost), lost[0])
        state = self._sharding.join([received(each.state) for each in held], model)
        for number, part in enumerate(self._sharding.cut(state)):
            if number in lost:
                self._replace_shard(number, held[model]._replace(state=wired(part)))
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

    def _replace_shard(self, number: int, snapshot: Snapshot) -> None:
        """Starts a shard in the place of one that was lost.

        It is lost as well if Ray starts it on a node of which it does not know yet that it is dead.
        """
        for _ in range(_ATTEMPTS):
            self._servers.shards[number] = shard = self._start_shard(number)
            try:
                ray.get(shard.load.remote(snapshot))
                return
            except RayActorError:
                continue
        raise WorkerLostError(f"shard {number} of the parameter server is lost as it starts")

    def _newest(self, number: int) -> Snapshot:
        """What is left of a shard that was lost."""
        kept = _settled(self._vault.newest.remote(number))
        begin = self._begin[number]
        return kept if kept is not None and kept.progress > begin.progress else begin

    def _tell(self, method: str, *args: Any) -> list[Any]:
        """Calls a method of every shard; the answers, None of a shard that was lost."""
        calls = [getattr(shard, method).remote(*args) for shard in self._servers.shards]
        return [_settled(call) for call in calls]


def _settled(call: ray.ObjectRef) -> Any:
    """What a call gives; None if its actor was lost."""
    try:
        return ray.get(call)
    except RayActorError:
        return None
