"""A pool of Ray actors that outlives its members: tasks by priority, run again if an actor dies."""

import heapq
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from math import inf
from time import monotonic
from typing import Any, TypeAlias

import ray
from ray.actor import ActorHandle
from ray.exceptions import ObjectLostError, RayActorError

from raydl.runtimes.ray_cluster.worker_group import WorkerGroup, WorkerLostError

Call: TypeAlias = Callable[[ActorHandle[Any]], list[ray.ObjectRef[Any]]]

_ATTEMPTS = 3  # of a task, each time on another actor


@dataclass(order=True)
class QueuedCall:
    """One call on some actor of the pool."""

    priority: float
    order: int
    call: Call = field(compare=False)
    attempts: int = field(default=0, compare=False)
    refs: list[ray.ObjectRef[Any]] = field(default_factory=list, compare=False)
    until: float = field(default=inf, compare=False)
    value: Any = field(default=None, compare=False)
    done: bool = field(default=False, compare=False)


class TaskPool:
    """Keeps actors busy with the most urgent tasks.

    It is there as soon as one of its actors is; the others are taken in as they come.

    Args:
        start: starts the actor of a number; it must have a method ``ready``.
        workers: how many actors.
        timeout: seconds for a task, after which its actor is given up; None to wait for ever.

    Raises:
        WorkerLostError: if no actor can be started.
    """

    def __init__(
        self, start: Callable[[int], ActorHandle[Any]], workers: int, timeout: float | None = None
    ) -> None:
        self._workers = WorkerGroup(start, workers)
        self._timeout = inf if timeout is None else timeout
        self._order = count()
        self._waiting: list[QueuedCall] = []
        self._running: dict[ray.ObjectRef[Any], tuple[QueuedCall, int]] = {}
        self._idle = self._workers.ready()

    @property
    def workers(self) -> int:
        """How many actors are up."""
        return self._workers.up

    @property
    def restarts(self) -> int:
        """How many actors were lost."""
        return self._workers.restarts

    def submit(self, calls: Iterable[tuple[float, Call]]) -> list[QueuedCall]:
        """Queues calls, each with its priority: the lowest is served first, equals in order.

        A call's first reference is its value, fetched when it is done; further ones stay where
        they are.
        """
        tasks = [QueuedCall(priority, next(self._order), call) for priority, call in calls]
        for task in tasks:
            heapq.heappush(self._waiting, task)
        self._dispatch()
        return tasks

    def wait(self, task: QueuedCall) -> QueuedCall:
        """Keeps the actors busy until ``task`` is done.

        Raises:
            WorkerLostError: if it ended one worker after the other.
            ObjectLostError: if what it was given is lost.
        """
        while not task.done:
            self._step(task)
        return task

    def take(self, task: QueuedCall) -> Any:
        """The value of a task that is waited for, of which nothing is kept in the object store."""
        value = self.wait(task).value
        task.value, task.refs = None, []
        return value

    def clear(self) -> None:
        """Forgets all tasks, once those that run have ended."""
        self._waiting.clear()
        while self._running:
            with suppress(ObjectLostError):
                self._watch([*self._running])
        self._waiting.clear()  # of lost workers'

    def close(self) -> None:
        """Ends the actors."""
        self._workers.close()

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            task, number = heapq.heappop(self._waiting), self._idle.pop(0)
            task.attempts += 1
            task.refs = task.call(self._workers.actors[number])
            task.until = monotonic() + self._timeout
            self._running[task.refs[0]] = (task, number)

    def _step(self, wanted: QueuedCall) -> None:
        """Waits for a call to end, and gives its actor the next one."""
        if not self._running:  # all actors are only starting
            self._idle = self._workers.ready()
        elif not self._waiting:  # no actor is needed for another call, so this one's end is enough
            self._watch([wanted.refs[0]])
        else:
            self._watch([*self._running, *self._workers.starting])
        self._dispatch()

    def _watch(self, refs: list[ray.ObjectRef[Any]]) -> None:
        """Waits until one of the calls ends, an actor is started, or a call's time is over."""
        until = min(self._running[ref][0].until for ref in refs if ref in self._running)
        left = None if until == inf else max(0.0, until - monotonic())
        ended, _ = ray.wait(refs, num_returns=1, timeout=left)
        for ref in ended:
            if ref in self._running:
                self._end(*self._running.pop(ref))
            elif (number := self._workers.admit(ref)) is not None:
                self._idle.append(number)
        if not ended:
            late = [ref for ref, (task, _) in self._running.items() if task.until <= until]
            # Some of them may have ended long ago, while it was another one that was waited for.
            _, hung = ray.wait(late, num_returns=len(late), timeout=0, fetch_local=False)
            for ref in hung:
                reason = f"no answer within {self._timeout:g} s"
                self._again(*self._running.pop(ref), reason)

    def _end(self, task: QueuedCall, number: int) -> None:
        """Takes what a call gives that has ended."""
        try:
            task.value = ray.get(task.refs[0])
        except (RayActorError, ObjectLostError) as error:
            if isinstance(error, RayActorError) or _is_of(error, task):
                self._again(task, number, str(error))
                return
            self._idle.append(number)
            raise
        except BaseException:
            self._idle.append(number)
            raise
        task.done = True
        self._idle.append(number)

    def _again(self, task: QueuedCall, number: int, reason: str) -> None:
        """Gives a worker up, and queues what it was to do."""
        if task.attempts == _ATTEMPTS:
            raise WorkerLostError(
                f"a block was lost {_ATTEMPTS} times, each time with its worker: {reason}"
            )
        self._workers.replace(number, self._workers.actors[number])
        heapq.heappush(self._waiting, task)


def _is_of(error: ObjectLostError, task: QueuedCall) -> bool:
    """Whether what is lost is a task's own result, which the task can give again."""
    return error.object_ref_hex in {ref.hex() for ref in task.refs}
