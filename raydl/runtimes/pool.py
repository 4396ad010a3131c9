"""A pool of Ray actors that outlives its members: tasks by priority, run again if an actor dies."""

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any, TypeAlias

import ray
from ray.actor import ActorHandle
from ray.exceptions import ObjectLostError, RayActorError

Call: TypeAlias = Callable[[ActorHandle], list[ray.ObjectRef]]

_ATTEMPTS = 3  # of a task, each time on another actor


class WorkerLostError(RuntimeError):
    """A task ended one worker after the other."""


@dataclass(order=True)
class Task:
    """One call on some actor of the pool."""

    priority: float
    order: int
    call: Call = field(compare=False)
    attempts: int = field(default=0, compare=False)
    refs: list[ray.ObjectRef] = field(default_factory=list, compare=False)
    value: Any = field(default=None, compare=False)
    done: bool = field(default=False, compare=False)


class Pool:
    """Keeps actors busy with the most urgent tasks.

    Args:
        start: starts an actor; it must have a method ``ready``.
        workers: how many actors.
    """

    def __init__(self, start: Callable[[], ActorHandle], workers: int) -> None:
        self._start = start
        self._order = count()
        self._waiting: list[Task] = []
        self._running: dict[ray.ObjectRef, tuple[Task, ActorHandle]] = {}
        self._idle = [start() for _ in range(workers)]
        ray.get([actor.ready.remote() for actor in self._idle])
        self.restarts = 0

    def submit(self, calls: Iterable[tuple[float, Call]]) -> list[Task]:
        """Queues calls, each with its priority: the lowest is served first, equals in order.

        A call's first reference is its value, fetched when it is done; further ones stay where
        they are.
        """
        tasks = [Task(priority, next(self._order), call) for priority, call in calls]
        for task in tasks:
            heapq.heappush(self._waiting, task)
        self._dispatch()
        return tasks

    def wait(self, task: Task) -> Task:
        """Keeps the actors busy until ``task`` is done.

        Raises:
            WorkerLostError: if it ended one worker after the other.
        """
        while not task.done:
            self._step(task)
        return task

    def close(self) -> None:
        """Ends the actors."""
        for actor in [*self._idle, *(actor for _, actor in self._running.values())]:
            ray.kill(actor)

    def _dispatch(self) -> None:
        while self._idle and self._waiting:
            task, actor = heapq.heappop(self._waiting), self._idle.pop(0)
            task.attempts += 1
            task.refs = task.call(actor)
            self._running[task.refs[0]] = (task, actor)

    def _step(self, wanted: Task) -> None:
        """Waits for a call to end, and gives its actor the next one."""
        if self._waiting:
            (ended,), _ = ray.wait(list(self._running), num_returns=1)
        else:  # no actor is needed for another call, so this one's end is enough to wait for
            ended = wanted.refs[0]
        task, actor = self._running.pop(ended)
        try:
            task.value = ray.get(ended)
            task.done = True
        except (RayActorError, ObjectLostError) as error:
            ray.kill(actor)
            if task.attempts == _ATTEMPTS:
                raise WorkerLostError(
                    f"a block was lost {_ATTEMPTS} times, each time with its worker: {error}"
                ) from None
            actor = self._start()
            self.restarts += 1
            heapq.heappush(self._waiting, task)
        finally:
            self._idle.append(actor)
            self._dispatch()
