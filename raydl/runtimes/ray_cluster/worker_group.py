"""Workers with numbers of their own, each of which is replaced when it is lost."""

import warnings
from collections.abc import Callable
from typing import Any

import ray
from ray.exceptions import RayActorError

from raydl.core.environment.stages import enter
from raydl.core.errors import Notice, SpecError
from raydl.runtimes.runtime import ClusterError

_ATTEMPTS = 3  # of a worker to start, one after the other
_PATIENCE = 30  # seconds until it is said that there is no room for a worker


class WorkerLostError(ClusterError):
    """Workers were lost, again and again."""


class WorkerGroup:
    """The workers, and those of them that are only starting.

    A worker starts as soon as the cluster has room for it: at once, when the autoscaler has added a
    node, or when somebody else has.

    Args:
        start: starts the worker of a number; it must have a method ``ready``, which returns what
            hinders it, if anything does.
        workers: number of workers.
    """

    def __init__(self, start: Callable[[int], Any], workers: int) -> None:
        self._start = start
        self.actors = [start(number) for number in range(workers)]
        self.starting: dict[ray.ObjectRef[Any], int] = {
            actor.ready.remote(): number for number, actor in enumerate(self.actors)
        }
        self._failed = [0] * workers
        self.restarts = 0

    @property
    def up(self) -> int:
        """How many workers there are by now."""
        return len(self.actors) - len(self.starting)

    def replace(self, number: int, lost: Any) -> None:
        """Starts another worker in the place of one that was lost, unless that is done already."""
        if self.actors[number] is not lost:
            return
        ray.kill(lost)
        self.restarts += 1
        self.actors[number] = self._start(number)
        self.starting[self.actors[number].ready.remote()] = number

    def admit(self, ready: ray.ObjectRef[Any]) -> int | None:
        """The worker that has started; None if it was lost at that, and another is starting.

        Raises:
            WorkerLostError: if that happens again and again.
            SpecError: if its node lacks what the run needs.
        """
        number = self.starting.pop(ready)
        try:
            refusal: SpecError | None = ray.get(ready)
        except RayActorError as error:
            self._failed[number] += 1
            if self._failed[number] == _ATTEMPTS:
                raise WorkerLostError(f"worker {number} is lost as it starts: {error}") from None
            self.replace(number, self.actors[number])
            return None
        if refusal is not None:
            raise refusal
        self._failed[number] = 0
        self._tell()
        return number

    def ready(self, least: int = 1) -> list[int]:
        """The workers that can train; waits until there are so many.

        Raises:
            WorkerLostError: see `admit`.
            SpecError: likewise.
        """
        told = False
        if self.up < least:
            self._tell()
        while self.starting:
            patience = _PATIENCE if self.up < least else 0
            ended, _ = ray.wait([*self.starting], timeout=patience)
            for each in ended:
                self.admit(each)
            if self.up >= least and not ended:
                break
            if not ended and not told:
                told = True
                warnings.warn(
                    f"{self.up} of {len(self.actors)} workers are up; waiting until the cluster "
                    f"has room for {least}",
                    Notice,
                    stacklevel=2,
                )
        absent = set(self.starting.values())
        return [number for number in range(len(self.actors)) if number not in absent]

    def _tell(self) -> None:
        enter("starting workers", self.up, len(self.actors))

    def close(self) -> None:
        """Ends the workers."""
        for actor in self.actors:
            ray.kill(actor)
