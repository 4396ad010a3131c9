"""The runtime that is chosen by measuring a few steps of the problem at hand."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import numpy as np

from raydl.core.algorithm import Work
from raydl.core.environment.stages import enter
from raydl.core.errors import SpecError, require
from raydl.core.grad import parameters
from raydl.core.spec import Spec
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.problem import Problem
from raydl.runtimes.spec import Demand, Loop, ResolvedRuntime, RuntimeSpec
from raydl.runtimes.worker.batchable import check_batchable
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.process import restored
from raydl.runtimes.worker.worker import Worker
from raydl.signals import Stop

_START = 6.0  # seconds until a pool of actors on this machine stands
_BLOCK = 0.001  # seconds of transport for each block that an actor is sent
_ROUNDS = 100  # of a run whose length is not known


@dataclass(frozen=True)
class Auto(Spec, RuntimeSpec, field="runtime"):
    """Measures a few steps, one client at a time and batched, and takes what will be done first.

    Args:
        threads: torch's threads, in each worker.
        address: address of a Ray cluster, see actors; with one, the choice is between actors alone.
    """

    surveys = True
    threads: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        require(self.threads >= 1, "runtime.threads", self.threads, "1 or larger")

    def numeric_fields(self) -> dict[str, Any]:
        """Settings that the numbers depend on, whatever is chosen."""
        return {"threads": self.threads}

    def launch(
        self, problem: Problem, loop: Loop, on_round: Callable[[Any], None], stop: Stop
    ) -> Any:
        """Chooses for a run with all the clients, and runs the training loop there."""
        chosen = self.resolve(problem, iter([np.arange(len(problem.partition))]), _ROUNDS).runtime
        return chosen.launch(problem, loop, on_round, stop)

    def demand(self, workers: int | None) -> Demand:
        """What actors would ask for."""
        return Actors(address=self.address).demand(workers)

    def resolve(
        self, problem: Problem, cohorts: Iterator[np.ndarray], rounds: int
    ) -> ResolvedRuntime:
        """Measures, and chooses for a run of so many rounds with cohorts like the first."""
        enter("measuring which runtime is fastest")
        state = problem.algorithm.init(parameters(problem.task.model))
        work = Work(0, tuple(next(cohorts).tolist()), problem.algorithm.plan(state))
        blocks = problem.blocks(work)
        seconds = {False: self._measure(problem, state, blocks[0], batched=False)}
        try:
            check_batchable(problem)
            seconds[True] = self._measure(problem, state, blocks[0], batched=True)
        except (SpecError, RuntimeError):  # a model that vmap cannot follow is trained eagerly
            seconds[True] = float("inf")
        batched = seconds[True] < seconds[False]
        alone = seconds[batched] * len(blocks) * rounds
        workers = min(os.cpu_count() or 1, len(blocks))
        pooled = _START + (alone / workers + _BLOCK * len(blocks) * rounds)
        how = (
            f"a block of {len(blocks[0].clients)} takes {1e3 * seconds[False]:.1f} ms client by "
            f"client and {1e3 * seconds[True]:.1f} ms batched"
        )
        ends = f"one process would end after {alone:.0f} s, {workers} actors after {pooled:.0f} s"
        if self.address or pooled < alone:
            chosen: RuntimeSpec = Actors(
                threads=self.threads, batched=batched, address=self.address
            )
        else:
            chosen = (Batched if batched else Sequential)(self.threads)
        return ResolvedRuntime(chosen, f"{chosen}: {how}; {ends}")

    def _measure(self, problem: Problem, state: object, block: Work, *, batched: bool) -> float:
        """The seconds that a block takes, the best of three."""
        taken = []
        with restored():
            worker = Worker(problem, threads=self.threads, batched=batched)
            broadcast = problem.algorithm.broadcast(state)
            for _ in range(3):
                started = perf_counter()
                worker.train_block(block, broadcast, ClientStates())
                taken.append(perf_counter() - started)
        return min(taken)
