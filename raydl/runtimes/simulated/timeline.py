"""Virtual time that is drawn for a seed, one event after the other.

A flight is a piece of work that was begun and has not arrived. What is drawn for it depends on
(seed, worker, how many pieces of work the worker has begun) alone.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from random import Random
from typing import NamedTuple

import torch

from raydl.core.rng import fold_in, uniform
from raydl.core.tree import Tree
from raydl.runtimes.asynchrony.clock import Clock, ServerStep, Workload
from raydl.runtimes.asynchrony.trace import Arrival
from raydl.runtimes.runtime import Traffic
from raydl.runtimes.simulated.cluster_model import ClusterModel

_ALL = -1  # in a checkpoint, of a piece of work that is done as planned


class _Flight(NamedTuple):
    """A piece of work on its way; the earliest sorts first."""

    arrives: float
    sequence: int
    worker: int
    version: int
    begun: float
    sends: float
    steps: int | None
    bytes_up: int
    lost: bool


@dataclass
class _Turn:
    """One step of the server in the making."""

    version: int
    slots: int
    candidates: Iterator[int]
    load: Callable[[int], Workload]
    again: bool
    end: float
    arrivals: list[Arrival] = field(default_factory=list)
    messages: int = 0
    bytes_down: int = 0
    bytes_up: int = 0
    lost: int = 0
    late: int = 0


class Timeline(Clock):
    """Time that is drawn for a seed, one event after the other.

    Args:
        workers: number of workers, or the clients of the whole federation.
        seed: seed of the run.
        model: the cluster that they are of.
    """

    def __init__(self, workers: int, seed: int, model: ClusterModel) -> None:
        self._model, self._seed = model, seed
        slow = round(model.stragglers * workers)
        stragglers = set(Random(fold_in(seed, "stragglers")).sample(range(workers), slow))
        self._pace = [
            model.speed.pace(worker, uniform(seed, "pace", worker))
            * (model.slowdown if worker in stragglers else 1.0)
            for worker in range(workers)
        ]
        self.now, self._opens = 0.0, 0.0
        self._flights: list[_Flight] = []  # a heap
        self._flying: set[int] = set()
        self._begun = [0] * workers  # pieces of work, by worker
        self._done = [0] * workers  # those whose update arrived
        self._slowest, self._at_slowest = 0, workers
        self._ready: deque[int] = deque()
        self._held: list[int] = []  # who are too far ahead of the slowest to begin
        self._spent: list[int] = []  # who have sent an update of this version
        self._sequence = 0

    def steps(self, number: int, usual: range) -> range:
        """The usual ones."""
        return usual

    def wait(self, until: float) -> None:
        """Lets nobody of the next cohort begin before a second."""
        self._opens = until

    def advance(
        self, version: int, cohort: Sequence[int], load: Callable[[int], Workload], *, again: bool
    ) -> ServerStep:
        """Lets time pass until the server steps, see `Clock`."""
        consistency, deadline = self._model.consistency, self._model.deadline
        # A buffer holds as many as ever; with a barrier, what is waited for is of this cohort.
        workers = len(cohort) if consistency.barrier else len(self._pace)
        enough, started = min(len(cohort), consistency.quorum(workers)), self.now
        end = inf if deadline is None else max(started, self._opens) + deadline
        # Where everybody takes part, who may begin is known by now, without a look at all of them.
        everyone = len(cohort) == len(self._pace) and self._sequence and not consistency.barrier
        candidates = iter(()) if everyone else iter(cohort)
        turn = _Turn(version, len(cohort), candidates, load, again, end)
        spent, self._spent = self._spent, []
        self._release(spent)
        self._fill(turn)
        while len(turn.arrivals) < enough:
            if not self._flights or self._flights[0].arrives > self.now:
                self._fill(turn)  # only now: who finish together wait for each other
            if self._flights[0].arrives > end:
                self.now = end
                break
            self._land(heappop(self._flights), turn)
        if consistency.barrier:
            self._throw_away(turn)
        traffic = Traffic(turn.messages, turn.bytes_down, turn.bytes_up, turn.lost, turn.late)
        return ServerStep(tuple(turn.arrivals), self.now - started, traffic)

    def in_use(self, versions: Iterable[int]) -> set[int]:
        """Those of the versions that updates on their way began from."""
        return {flight.version for flight in self._flights}.intersection(versions)

    def state(self) -> Tree:
        """Everybody's clocks, and what is on its way."""
        flights = sorted(self._flights)
        times = [(flight.arrives, flight.begun, flight.sends) for flight in flights]
        kinds = [
            (
                flight.worker,
                flight.version,
                _ALL if flight.steps is None else flight.steps,
                flight.bytes_up,
                flight.lost,
            )
            for flight in flights
        ]
        waiting = {"ready": self._ready, "held": self._held, "spent": self._spent}
        return {
            "now": torch.tensor(self.now, dtype=torch.float64),
            "begun": torch.tensor(self._begun),
            "done": torch.tensor(self._done),
            "times": torch.tensor(times, dtype=torch.float64).reshape(-1, 3),
            "kinds": torch.tensor(kinds, dtype=torch.int64).reshape(-1, 5),
            **{name: torch.tensor([*each], dtype=torch.int64) for name, each in waiting.items()},
        }

    def restore(self, state: Tree) -> None:
        """Goes on from there."""
        self.now = state["now"].item()
        self._begun, self._done = state["begun"].tolist(), state["done"].tolist()
        self._slowest = min(self._done)
        self._at_slowest = self._done.count(self._slowest)
        rows = zip(state["times"].tolist(), state["kinds"].tolist(), strict=True)
        self._flights = [  # sorted, and so a heap
            _Flight(
                arrives,
                number,
                worker,
                version,
                begun,
                sends,
                None if steps == _ALL else steps,
                bytes_up,
                bool(lost),
            )
            for number, (
                (arrives, begun, sends),
                (worker, version, steps, bytes_up, lost),
            ) in enumerate(rows)
        ]
        self._flying = {flight.worker for flight in self._flights}
        self._sequence = sum(self._begun)
        self._ready = deque(state["ready"].tolist())
        self._held, self._spent = state["held"].tolist(), state["spent"].tolist()

    def _fill(self, turn: _Turn) -> None:
        """Has everybody begin who may."""
        while len(self._flying) < turn.slots:
            worker = self._ready.popleft() if self._ready else next(turn.candidates, None)
            if worker is None:
                return
            if worker not in self._flying:
                self._begin(worker, turn)

    def _begin(self, worker: int, turn: _Turn) -> None:
        model, load, number = self._model, turn.load(worker), self._begun[worker]
        self._begun[worker] += 1
        draw = uniform(self._seed, "work", worker, number)
        pace = self._pace[worker] * model.speed.factor(draw)
        begun = max(self.now, self._opens)
        received = begun + model.download(load.bytes_down)
        upload = model.upload(load.bytes_up)
        steps, arrives = None, received + load.steps * pace + upload
        if model.partial and arrives > turn.end:
            steps = int((turn.end - upload - received) / pace)
            arrives = turn.end if steps > 0 else inf
        lost = model.update_loss > 0 and (
            uniform(self._seed, "lost", worker, number) < model.update_loss
        )
        flight = _Flight(
            arrives,
            self._sequence,
            worker,
            turn.version,
            begun,
            arrives - upload,
            steps,
            load.bytes_up,
            lost,
        )
        heappush(self._flights, flight)
        self._flying.add(worker)
        self._sequence += 1
        turn.messages += 1
        turn.bytes_down += load.bytes_down

    def _land(self, flight: _Flight, turn: _Turn) -> None:
        self.now = flight.arrives
        worker = flight.worker
        self._flying.remove(worker)
        turn.messages += 1
        turn.bytes_up += flight.bytes_up
        if flight.lost:
            turn.lost += 1
            self._ready.append(worker)
            return
        self._count(worker)
        seconds = self.now - flight.begun
        turn.arrivals.append(
            Arrival(worker, flight.version, turn.version, self.now, seconds, flight.steps)
        )
        if turn.slots == len(self._pace) and not self._model.consistency.barrier:
            if turn.again or flight.version < turn.version:
                self._release((worker,))
            else:
                self._spent.append(worker)

    def _count(self, worker: int) -> None:
        """Counts an update, and lets go whom the slowest worker held back."""
        self._done[worker] += 1
        if self._done[worker] != self._slowest + 1:
            return
        self._at_slowest -= 1
        if self._at_slowest == 0:
            self._slowest += 1
            self._at_slowest = self._done.count(self._slowest)
            held, self._held = self._held, []
            self._release(held)

    def _release(self, workers: Sequence[int]) -> None:
        bound = self._model.consistency.staleness_bound
        for worker in workers:
            ahead = self._done[worker] - self._slowest
            held = bound is not None and ahead > bound
            (self._held if held else self._ready).append(worker)

    def _throw_away(self, turn: _Turn) -> None:
        """Ends everybody's work; what was being sent was sent in vain."""
        for flight in self._flights:
            if flight.sends <= self.now:
                turn.messages += 1
                turn.bytes_up += flight.bytes_up
        turn.late += len(self._flights)
        self._flights.clear()
        self._flying.clear()
        self._ready.clear()
