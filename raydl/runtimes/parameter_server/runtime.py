"""The runtime of a parameter server: shards that hold the parameters, and workers that train.

Workers push to the shards and pull from them directly; the driver only says how far a round goes,
gathers the state when it is over, and replaces who is lost. Every shard runs the algorithm's own
server on its part of the state.

A round's rows (`Round.clients`) are in the order in which the shards took the pushes, and say for
each of them at which version its worker began and how many steps of the server it was old. One
process that follows them does the same again, bit for bit (`raydl.runtimes.asynchrony`).
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import ray
import torch
from ray.exceptions import RayActorError
from torch import Tensor

from raydl.core.algorithm import Algorithm, Work
from raydl.core.errors import require
from raydl.core.rng import forked
from raydl.core.tree import Params, Tree
from raydl.runtimes.parameter_server.layout import make_sharding
from raydl.runtimes.parameter_server.messages import ShardProgress
from raydl.runtimes.parameter_server.shard_group import ShardGroup, get_or_none
from raydl.runtimes.parameter_server.worker import ServerWorker
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.problem_store import share_problem
from raydl.runtimes.ray_cluster.prometheus import PrometheusGauges
from raydl.runtimes.ray_cluster.transport import from_wire, to_wire
from raydl.runtimes.ray_cluster.worker_group import WorkerGroup, WorkerLostError
from raydl.runtimes.runtime import RoundResult, RuntimeState, ServerRuntime, star_traffic
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.client_table import ClientTable
from raydl.runtimes.worker.evaluation import Score, stretches

if TYPE_CHECKING:
    from raydl.runtimes.parameter_server.spec import ShardedServer

_ATTEMPTS = 10  # to end a round in which shards are lost, or a score
_ENDLESS = 1 << 62  # pushes


class ShardedServerRuntime(ServerRuntime):
    """Runs a problem's workers around a parameter server; Ray must be connected.

    Args:
        problem: problem that is to be learned; every client of it is a worker, and takes part in
            each round.
        spec: the server.

    Raises:
        SpecError: see `make_sharding`.
    """

    def __init__(self, problem: Problem, spec: "ShardedServer") -> None:
        self._problem, self._consistency = problem, spec.consistency
        sharding = make_sharding(problem, spec.shards, spec.consistency)
        self._shards = ShardGroup(problem, sharding, spec.consistency, spec.snapshot)
        shared = share_problem(problem)
        worker = ray.remote(ServerWorker).options(num_cpus=spec.cpus, num_gpus=spec.reserved)
        workers = len(problem.partition)
        self._workers = WorkerGroup(
            lambda number: worker.remote(
                *shared, number, sharding, threads=spec.threads, device=spec.device
            ),
            workers,
        )
        self._workers.ready(workers)
        self._gauges = PrometheusGauges(problem.task.spec.best)

    @property
    def lost(self) -> int:
        """How many pushes were lost, with the shards that had taken them."""
        return self._shards.lost

    def advance(self, algorithm: Algorithm, state: Tree, work: Work) -> RoundResult:
        """Has the workers train until the server has made the round's steps.

        Where the server does not wait for all workers, those are the steps of as many pushes as
        the round would have if it did.
        """
        workers, barrier, lost = len(self._workers.actors), self._consistency.barrier, self.lost
        everyone = work.clients == tuple(range(workers))
        require(everyone, "the cohort", work.clients, f"all {workers} workers of the server")
        if state is not self._shards.state:
            self._load(state, work)
        base = self._shards.begun
        goal = ShardProgress(base.version + work.plan.server_steps, _ENDLESS)
        if not barrier:
            goal = ShardProgress(_ENDLESS, base.pushes + workers * work.plan.server_steps)
        now = base
        for _ in range(_ATTEMPTS):
            ready = self._workers.ready()
            self._shards.open(goal, now, ready, fresh=now is base)
            known = self._train(ready, work, base.version if barrier else None)
            now = self._shards.restore_lost(known)
            if now.version >= goal.version or now.pushes >= goal.pushes:
                break
        else:
            raise WorkerLostError(f"a round could not be ended in {_ATTEMPTS} attempts")
        rows, reported = self._shards.gather()
        clients = _columns(rows, barrier=barrier)
        state = self._shards.state
        with forked():  # of what the shards sent, the driver needs the size alone
            traffic = star_traffic(algorithm, algorithm.broadcast(state), clients)
        traffic = traffic._replace(
            messages=traffic.messages * len(self._shards),
            lost=self.lost - lost,
            late=int((clients["staleness"] > 0).sum()) if barrier else 0,
        )
        metrics = {
            name: torch.tensor(value, dtype=torch.float64) for name, value in reported.items()
        }
        seconds = _training_seconds(clients, barrier=barrier)
        return RoundResult(state, clients, traffic, seconds, metrics)

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Scores on the workers, before they begin with the next round."""
        sent = ray.put(to_wire(params))
        parts = list(stretches(self._problem.dataset, split))

        def begin(at: int, ready: list[int]) -> tuple[int, Any, ray.ObjectRef[Any]]:
            number = ready[at % len(ready)]
            actor = self._workers.actors[number]
            return number, actor, actor.evaluate.remote(parts[at], sent)

        ready = self._workers.ready()
        begun = [begin(at, ready) for at in range(len(parts))]

        def score(at: int) -> Score:
            for _ in range(_ATTEMPTS):
                number, actor, call = begun[at]
                try:
                    given: Score = ray.get(call)
                    return given
                except RayActorError:
                    self._workers.replace(number, actor)
                    begun[at] = begin(at, self._workers.ready())
            raise WorkerLostError(f"scoring {parts[at]} ended one worker after the other")

        return lambda: sum(map(score, range(len(parts))), Score())

    def state(self) -> RuntimeState:
        """What every worker keeps by now; one that was lost has lost it.

        The runtime's own is where each worker is in its samples, if they go through them each at
        its own pace.
        """
        together = ClientTable()
        taken: dict[str, Tensor] = {}
        for number in self._workers.ready():
            given = get_or_none(self._workers.actors[number].state.remote())
            if given is not None:
                kept, steps = given
                together.update(ClientStates.from_tree(from_wire(kept)))
                taken |= {} if steps is None else {str(number): torch.tensor(steps)}
        return RuntimeState(together.states(), {"taken": taken} if taken else {})

    def restore(self, state: RuntimeState) -> None:
        """Takes up what the workers of an interrupted run kept."""
        table = ClientTable(state.clients)
        taken = {int(number): int(each) for number, each in state.own.get("taken", {}).items()}
        for number in self._workers.ready():
            kept = to_wire(table.gather([number]).as_tree())
            get_or_none(self._workers.actors[number].restore.remote(kept, taken.get(number)))

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Reports a round as metrics of Ray."""
        self._gauges.report(run, row, self._workers.up, self._workers.restarts)

    def close(self) -> None:
        """Ends the actors."""
        self._workers.close()
        self._shards.end()

    def _load(self, state: Tree, work: Work) -> None:
        """Begins a round from a state; what the workers had not pushed yet is forgotten."""
        workers = len(self._workers.actors)
        pushes = work.step * work.plan.server_steps * workers
        step = workers if self._consistency.barrier else self._consistency.quorum(workers)
        self._shards.load(state, version=pushes // step)
        for actor in self._workers.actors:
            actor.forget.remote()

    def _train(self, workers: list[int], work: Work, base: int | None) -> ShardProgress:
        """Waits until all workers have been sent home; returns how far they saw the server."""

        def begin(number: int) -> tuple[ray.ObjectRef[Any], int]:
            call = self._workers.actors[number].train.remote(self._shards.servers, work.plan, base)
            return call, number

        running, known = dict(map(begin, workers)), ShardProgress(0, 0)
        while running:
            (ended,), _ = ray.wait([*running, *self._workers.starting], num_returns=1)
            if ended in self._workers.starting:
                number = self._workers.admit(ended)
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
                self._workers.replace(number, self._workers.actors[number])
            else:
                self._shards.close()
        return known


def _columns(rows: list[dict[str, float]], *, barrier: bool) -> dict[str, Tensor]:
    """The rows as columns, float64: in the order of the pushes, or of the workers in every step.

    Args:
        rows: a row for each push: the columns of `BlockResult`, the version at which the worker
            ``begun``, how many steps of the server old the push was, its ``staleness``, and the
            ``first`` of its local steps, where the plan has such.
        barrier: whether all workers begin anew after a step.
    """
    if barrier:
        rows = sorted(rows, key=lambda row: (row["begun"] + row["staleness"], row["client"]))
    names = max(rows, key=len)
    table = torch.tensor([[row[name] for name in names] for row in rows], dtype=torch.float64)
    return dict(zip(names, table.unbind(1), strict=True))


def _training_seconds(clients: dict[str, Tensor], *, barrier: bool) -> float:
    """Of the training alone: the slowest worker's, with a barrier the slowest's of every step."""
    seconds = clients["seconds"]
    groups = clients["begun" if barrier else "client"]
    own = [seconds[groups == each] for each in torch.unique(groups)]
    return float(sum(each.max() for each in own) if barrier else max(each.sum() for each in own))
