"""raydl in a group of Ray Train processes that train round by round, when it is their turn."""

import threading
from collections.abc import Callable
from functools import partial
from itertools import repeat
from queue import SimpleQueue
from typing import Any

import numpy as np
from ray.util.queue import Queue

from raydl.core.grad import parameters
from raydl.core.tree import Params
from raydl.round import rounds
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from raydl.signals import Stop


class Grouped:
    """The processes that ``raydl run --workers 2`` trains in.

    They are started as a run starts them, and a round's seconds are those of its record; only the
    loop that they take is another: before each round, its leader waits for the word.

    Args:
        problem: what is trained, by all its workers in every round.
        processes: of the group; Ray must be connected.
    """

    def __init__(self, problem: Problem, processes: int) -> None:
        self._turns = Queue(actor_options={"num_cpus": 0})
        self._rounds: SimpleQueue[tuple[float, Params] | BaseException] = SimpleQueue()
        self._thread = threading.Thread(target=self._launch, args=(problem, processes), daemon=True)
        self._thread.start()

    def round(self) -> float:
        """Trains the next round, in so many seconds."""
        self._turns.put(True)
        done = self._rounds.get()
        if isinstance(done, BaseException):
            raise done
        seconds, self._params = done
        return seconds

    def params(self) -> Params:
        """The parameters by now."""
        return self._params

    def close(self) -> None:
        """Ends the group."""
        self._turns.put(False)
        self._thread.join()
        self._turns.shutdown()

    def _launch(self, problem: Problem, processes: int) -> None:
        loop = partial(_loop, self._turns)
        try:
            AllReduce(processes).launch(problem, loop, self._rounds.put, Stop())
        except BaseException as error:  # is raised where somebody waits for the round
            self._rounds.put(error)


def _loop(
    turns: Queue,
    problem: Problem,
    runtime: Runtime,
    on_round: Callable[[Any], None],
    stop: Stop,
) -> None:
    state = problem.algorithm.init(parameters(problem.task.model))
    cohorts = repeat(np.arange(len(problem.partition)))
    endless = rounds(problem.algorithm, runtime, state, cohorts)
    while runtime.all_reduce_max(int(runtime.is_leader and turns.get())):
        done = next(endless)
        on_round((done.wall_seconds, problem.algorithm.params(done.state)))
