"""One shard of a parameter server: a part of the parameters, and what becomes of what is pushed.

A shard is an actor that does one thing at a time. What it does depends only on the order of what
reaches it, so shards that are told the same in the same order stay at the same version without
talking to each other. Where the order counts, a `Sequencer` gives it out as tickets; where a step
needs every worker's push, it does not count.
"""

import asyncio
from collections.abc import Collection, Sequence
from functools import partial
from itertools import chain
from operator import attrgetter
from typing import Any, NamedTuple

import torch

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Update
from raydl.core.rng import fold_in, seed_draws
from raydl.core.tree import Tree, unescape
from raydl.runtimes.asynchrony.consistency import Consistency
from raydl.runtimes.parameter_server.layout import Piece
from raydl.runtimes.parameter_server.messages import Header, MessageError, ShardProgress, Snapshot
from raydl.runtimes.parameter_server.snapshots import seal
from raydl.runtimes.ray_cluster.transport import fetch, from_wire, put_if_large, to_wire
from raydl.runtimes.worker.memory import keep_freed_memory


class _Push(NamedTuple):
    """What a worker sent, until a step is made of it; nothing if it was not finite."""

    worker: int
    message: Tree | None
    weight: float
    rows: list[dict[str, float]]


class Shard:
    """The actor.

    Args:
        number: of the shard.
        algorithm: whose server makes the steps.
        seed: seed of the run.
        pieces: what the shard holds of the parameters.
        samples: of each of the K workers.
        consistency: when a step is made.
        every: steps from one snapshot to the next.
        snapshots: the actor that keeps the snapshots; None to make none.
    """

    def __init__(
        self,
        number: int,
        algorithm: Algorithm,
        seed: int,
        pieces: dict[str, Piece],
        samples: Sequence[int],
        consistency: Consistency,
        every: int = 10,
        snapshots: Any = None,
    ) -> None:
        torch.set_num_threads(1)
        keep_freed_memory()
        self._number, self._algorithm, self._consistency = number, algorithm, consistency
        self._shapes = {name: piece.shape for name, piece in pieces.items()}
        self._enough = consistency.quorum(len(samples))
        # The only shard draws what one process would; of several, each draws for its own part.
        self._seed = partial(seed_draws, fold_in(seed, "shard", number) if number else seed)
        self._samples, self._every, self._snapshots = samples, every, snapshots
        self._open, self._goal, self._next = False, ShardProgress(0, 0), 0

    async def load(self, snapshot: Snapshot) -> None:
        """Takes up a part of a server's state."""
        self._progress, self._rows = snapshot.progress, snapshot.rows
        self._metrics = snapshot.metrics
        self._state = tree.map(torch.clone, from_wire(snapshot.state))
        self._reply: Any = None
        self._layout: dict[str, tuple[tuple[int, ...], torch.dtype]] = {}
        self._clocks: dict[int, int] = {}
        self._gathered: list[_Push] = []
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._early: dict[int, tuple[Header, Any, asyncio.Future[Any] | None]] = {}

    async def open(
        self, goal: ShardProgress, ticket: int, workers: Collection[int], *, fresh: bool
    ) -> None:
        """Lets workers pull and push.

        Args:
            goal: how far, the one or the other.
            ticket: the next one.
            workers: who takes part.
            fresh: whether a round begins, whose rows are to be kept from now on.
        """
        self._goal, self._next, self._open = goal, ticket, True
        self._early.clear()
        if fresh:
            self._rows, self._metrics = [], {}
        for gone in self._clocks.keys() - set(workers):
            del self._clocks[gone]
        for worker in workers:
            self._join(worker)

    async def close(self) -> ShardProgress:
        """Sends everybody home who waits or comes; what they still push is taken."""
        self._open = False
        self._answer()
        return self._progress

    async def leave(self, worker: int, last: Header | None) -> None:
        """Goes on without a worker that was lost; ``last`` is what it had a ticket for.

        If that is a push, it counts wherever it did not arrive as one of nothing, so that all
        shards stay at one version.
        """
        self._clocks.pop(worker, None)
        self._waiting.pop(worker, None)
        if last is not None and last.ticket is not None and last.ticket >= self._next:
            self._early.setdefault(last.ticket, (last, None, None))
        self._proceed()

    async def push_pull(self, header: Header, part: Any = None) -> Any:
        """Takes a worker's push, or its pull, and answers when the worker may go on.

        Returns:
            The progress, and the broadcast's part on the wire; None if the worker is to stop.

        Raises:
            MessageError: if the part is not what was announced, or not of this shard.
        """
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if header.ticket is None:
            self._accept(header, part, answer)
        elif header.ticket >= self._next:
            self._early[header.ticket] = (header, part, answer)
        else:  # of a worker that was given up meanwhile
            return None
        self._proceed()
        return await answer

    async def drop(self) -> None:
        """Forgets the pushes that no step was made of yet."""
        pushes = self._progress.pushes - len(self._gathered)
        self._progress, self._gathered = self._progress._replace(pushes=pushes), []

    async def gather(self) -> Snapshot:
        """The shard as it is."""
        return self._snapshot()

    def _join(self, worker: int) -> None:
        self._clocks.setdefault(worker, min(self._clocks.values(), default=0))

    def _proceed(self) -> None:
        """Takes what came, as far as the order is known, and makes the steps that are due."""
        while self._next in self._early:
            header, part, answer = self._early.pop(self._next)
            self._next += 1
            if answer is not None:
                self._join(header.worker)
                self._accept(header, part, answer)
            elif header.begun is not None:
                self._count(header, header.begun, None)
            self._step_if_due()
            self._answer()  # with this version, which is the one that all shards answer with
        self._step_if_due()
        self._answer()

    def _accept(self, header: Header, part: Any, answer: asyncio.Future[Any]) -> None:
        worker = header.worker
        if worker not in self._clocks:
            answer.set_result(None)
            return
        try:
            if header.begun is not None:
                update = None if part is None else self._verify(header, from_wire(fetch(part)))
                self._count(header, header.begun, update)
        except MessageError as error:
            answer.set_exception(error)
            return
        self._waiting[worker] = answer

    def _count(self, header: Header, begun: int, update: Tree | None) -> None:
        """Takes a push, unless it is late for a step that ended everybody's work."""
        staleness = self._progress.version - begun
        self._progress = self._progress._replace(pushes=self._progress.pushes + 1)
        if header.worker in self._clocks:
            self._clocks[header.worker] += 1
        rows = [header.row | {"begun": begun, "staleness": staleness}] if header.row else []
        if self._consistency.barrier and staleness:
            self._rows += rows
        else:
            weight = self._consistency.discount_factor(staleness)
            self._gathered.append(_Push(header.worker, update, weight, rows))

    def _verify(self, header: Header, update: Tree) -> Tree:
        """What was sent, or a MessageError."""
        layout = tree.layout(update)
        due = {path: self._shapes.get(unescape(path.rpartition("/")[2])) for path in layout}
        fits = all(shape is None or shape == layout[path][0] for path, shape in due.items())
        fits &= all(self._layout.get(path, each) == each for path, each in layout.items())
        if fits:  # a gradient that nobody had yet may come later
            self._layout |= layout
        if not fits or tree.nbytes(update) != header.length:
            fault = f"of {tree.nbytes(update)} bytes is not of the size announced or due"
        elif header.begun is not None and header.begun > self._progress.version:
            fault = f"began from version {header.begun}, which there is not yet"
        elif not tree.is_finite(update):
            fault = "holds a NaN or an infinity, which the worker did not say"
        else:
            return update
        raise MessageError(
            f"the message of worker {header.worker} to shard {self._number}, which is at version "
            f"{self._progress.version}, {fault}; it was not applied"
        )

    def _step_if_due(self) -> None:
        barrier = self._consistency.barrier
        needed = min(self._enough, len(self._clocks) or 1) if barrier else self._enough
        if len(self._gathered) < needed:
            return
        reduce, accumulator = self._algorithm.reduce, self._algorithm.reduce.zero()
        if barrier:
            self._gathered.sort(key=attrgetter("worker"))
        finite = [push for push in self._gathered if push.message is not None]
        for push in finite:
            accumulator = reduce.add(accumulator, self._update(push))
        self._rows += chain.from_iterable(push.rows for push in self._gathered)
        if finite:
            self._seed(self._progress.version, "server")
            reduced = reduce.result(accumulator)
            self._state, metrics = self._algorithm.server(self._state, reduced)
            self._metrics = {name: float(value) for name, value in metrics.items()}
        self._gathered, self._reply = [], None
        self._progress = self._progress._replace(version=self._progress.version + 1)
        if self._snapshots is not None and self._progress.version % self._every == 0:
            self._snapshots.keep.remote(self._number, seal(self._snapshot()))

    def _update(self, push: _Push) -> Update:
        """A push as an update, of which as much counts as its age lets it."""
        message = push.message
        if push.weight != 1:
            assert self._algorithm.discount is not None
            message = self._algorithm.discount(message, push.weight)
        return Update(message, self._samples[push.worker], push.worker)

    def _answer(self) -> None:
        """Answers everybody who need not wait any longer."""
        reached = zip(self._progress, self._goal, strict=True)
        over = not self._open or any(now >= goal for now, goal in reached)
        barrier = self._consistency.barrier
        pushed = {push.worker for push in self._gathered} if barrier else set()
        bound, slowest = self._consistency.staleness_bound, min(self._clocks.values(), default=0)
        for worker in list(self._waiting):
            ahead = bound is not None and self._clocks[worker] - slowest > bound
            if over or not (worker in pushed or ahead):
                answer = self._waiting.pop(worker)
                if not answer.done():
                    answer.set_result(None if over else (self._progress, self._broadcast()))

    def _broadcast(self) -> Any:
        if self._reply is None:
            self._seed(self._progress.version, "broadcast")
            wire = to_wire(self._algorithm.broadcast(self._state))
            self._reply = put_if_large(wire, wire.nbytes)
        return self._reply

    def _snapshot(self) -> Snapshot:
        return Snapshot(self._progress, to_wire(self._state), list(self._rows), self._metrics)
