"""The runtime of a parameter server: shards that hold the parameters, and workers that train.

Workers push to the shards and pull from them directly; the driver only says how far a round goes,
gathers the state when it is over, and replaces who is lost. Every shard runs the algorithm's own
server on its part of the state.

A round's rows (`Round.clients`) are in the order in which the shards took the pushes, and say for
each of them at which version its worker began and how many steps of the server it was old. One
process that follows them does the same again, bit for bit (`raydl.runtimes.simulated.replayed`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import ray
import torch
from ray.exceptions import RayActorError
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Work
from raydl.core.errors import require
from raydl.core.rng import forked
from raydl.core.tree import Params, Tree
from raydl.runtimes.block import Kept
from raydl.runtimes.consistency import Consistency, Synchronous
from raydl.runtimes.crew import Crew, WorkerLostError
from raydl.runtimes.evaluation import Score, stretches
from raydl.runtimes.messages import Progress
from raydl.runtimes.metrics import Metrics
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Advanced, Reduced, Runtime, star
from raydl.runtimes.sharding import sharding
from raydl.runtimes.shards import Shards, settled
from raydl.runtimes.shared import Wire, received, share, wired
from raydl.runtimes.trainer import Trainer

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
        cut = sharding(problem, shards, self._consistency)
        self._shards = Shards(problem, cut, self._consistency, snapshot)
        shared, device = share(problem), "cuda" if gpus else "cpu"
        trainer = ray.remote(Trainer).options(num_cpus=cpus, num_gpus=gpus)
        workers = len(problem.partition)
        self._crew = Crew(
            lambda number: trainer.remote(*shared, number, cut, threads=threads, device=device),
            workers,
        )
        self._crew.ready(workers)
        self._metrics = Metrics()

    @property
    def lost(self) -> int:
        """How many pushes were lost, with the shards that had taken them."""
        return self._shards.lost

    def advance(self, algorithm: Algorithm, state: Tree, work: Work) -> Advanced:
        """Has the workers train until the server has made the round's steps.

        Where the server does not wait for all workers, those are the steps of as many pushes as
        the round would have if it did.
        """
        workers, barrier, lost = len(self._crew.actors), self._consistency.barrier, self.lost
        everyone = work.clients == tuple(range(workers))
        require(everyone, "the cohort", work.clients, f"all {workers} workers of the server")
        if state is not self._shards.state:
            self._load(state, work)
        base = self._shards.begun
        goal = Progress(base.version + work.plan.exchanges, _ENDLESS)
        if not barrier:
            goal = Progress(_ENDLESS, base.pushes + workers * work.plan.exchanges)
        now = base
        for _ in range(_ATTEMPTS):
            ready = self._crew.ready()
            self._shards.open(goal, now, ready, fresh=now is base)
            known = self._train(ready, work, base.version if barrier else None)
            now = self._shards.restored(known)
            if now.version >= goal.version or now.pushes >= goal.pushes:
                break
        else:
            raise WorkerLostError(f"a round could not be ended in {_ATTEMPTS} attempts")
        clients = _columns(self._shards.gather(), barrier)
        state = self._shards.state
        with forked():  # of what the shards sent, the driver needs the size alone
            traffic = star(algorithm, algorithm.broadcast(state), clients)
        traffic = traffic._replace(
            messages=traffic.messages * len(self._shards),
            lost=self.lost - lost,
            late=int((clients["staleness"] > 0).sum()) if barrier else 0,
        )
        return Advanced(state, clients, traffic, _training_seconds(clients, barrier), {})

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
            wires |= settled(self._crew.actors[number].kept.remote()) or {}
        return {number: tree.map(torch.clone, received(keep)) for number, keep in wires.items()}

    def restore(self, kept: Kept) -> None:
        """Takes up what the workers of an interrupted run kept."""
        wires = {number: wired(keep) for number, keep in kept.items()}
        for number in self._crew.ready():
            settled(self._crew.actors[number].restore.remote(wires))

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray."""
        self._metrics.report(run, row, self._crew.up, self._crew.restarts)

    def close(self) -> None:
        """Ends the actors."""
        self._crew.close()
        self._shards.end()

    def _load(self, state: Tree, work: Work) -> None:
        """Begins a round from a state; what the workers had not pushed yet is forgotten."""
        workers, enough = len(self._crew.actors), self._consistency.enough
        pushes = work.round * work.plan.exchanges * workers
        step = workers if self._consistency.barrier else enough(workers)
        self._shards.load(state, version=pushes // step)
        for actor in self._crew.actors:
            actor.forget.remote()

    def _train(self, workers: list[int], work: Work, base: int | None) -> Progress:
        """Waits until all workers have been sent home; returns how far they saw the server."""

        def begin(number: int) -> tuple[ray.ObjectRef, int]:
            call = self._crew.actors[number].train.remote(self._shards.servers, work.plan, base)
            return call, number

        running, known = dict(map(begin, workers)), Progress(0, 0)
        while running:
            (ended,), _ = ray.wait([*running, *self._crew.starting], num_returns=1)
            if ended in self._crew.starting:
                number = self._crew.started(ended)
                if self._shards.servers.sequencer is None:
                    self._shards.close()  # to be taken in by all shards at the same version
                elif number is not None:
                    running |= [begin(number)]
                continue
            number = running.pop(ended)
            try:
                known = max(known, ray.get(ended))
            except RayActorError:
                self._shards.leave(number)
                self._crew.replace(number, self._crew.actors[number])
            else:
                self._shards.close()
        return known


def _columns(rows: list[dict[str, float]], barrier: bool) -> dict[str, Tensor]:
    """The rows as columns, float64: in the order of the pushes, or of the workers in every step.

    Args:
        rows: of the pushes: the columns of `Folded`, the version at which the worker ``begun``,
            how many steps of the server old the push was, its ``staleness``, and the ``first`` of
            its local steps, where the plan has such.
        barrier: whether all workers begin anew after a step.
    """
    if barrier:
        rows = sorted(rows, key=lambda row: (row["begun"] + row["staleness"], row["client"]))
    names = max(rows, key=len)
    table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
    return dict(zip(names, table.unbind(1), strict=True))


def _training_seconds(clients: dict[str, Tensor], barrier: bool) -> float:
    """Of the training alone: the slowest worker's, with a barrier the slowest's of every step."""
    seconds = clients["seconds"]
    groups = clients["begun" if barrier else "client"]
    own = [seconds[groups == each] for each in groups.unique()]
    return float(sum(each.max() for each in own) if barrier else max(each.sum() for each in own))
