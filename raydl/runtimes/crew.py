"""Workers with numbers of their own, each of which is replaced when it is lost."""

from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError

from raydl.runtimes.pool import WorkerLostError

_ATTEMPTS = 3  # of a worker to start, one after the other


class Crew:
    """The workers, and those of them that are only starting.

    Args:
        start: starts the worker of a number; it must have a method ``ready``.
        workers: how many.
    """

    def __init__(self, start: Callable[[int], Any], workers: int) -> None:
        self._start = start
        self.actors = [start(number) for number in range(workers)]
        ray.get([actor.ready.remote() for actor in self.actors])
        self.starting: dict[ray.ObjectRef, int] = {}
        self._failed = [0] * workers
        self.restarts = 0

    def replace(self, number: int, lost: Any) -> None:
        """Starts another worker in the place of one that was lost, unless that is done already."""
        if self.actors[number] is not lost:
            return
        ray.kill(lost)
        self.restarts += 1
        self.actors[number] = self._start(number)
        self.starting[self.actors[number].ready.remote()] = number

    def started(self, ready: ray.ObjectRef) -> int | None:
        """The worker that has started; None if it was lost at that, and another is starting.

        Raises:
            WorkerLostError: if that happens again and again.
        """
        number = self.starting.pop(ready)
        try:
            ray.get(ready)
        except RayActorError as error:
            self._failed[number] += 1
            if self._failed[number] == _ATTEMPTS:
                raise WorkerLostError(f"worker {number} is lost as it starts: {error}") from None
            self.replace(number, self.actors[number])
            return None
        self._failed[number] = 0
        return number

    def ready(self) -> list[int]:
        """The workers that can train; waits for one if there is none."""
        while True:
            patience = None if len(self.starting) == len(self.actors) else 0
            ended, _ = ray.wait([*self.starting], timeout=patience) if self.starting else ([], [])
            for each in ended:
                self.started(each)
            if not ended and len(self.starting) < len(self.actors):
                absent = set(self.starting.values())
                return [number for number in range(len(self.actors)) if number not in absent]

    def close(self) -> None:
        """Ends the workers."""
        for actor in self.actors:
            ray.kill(actor)
