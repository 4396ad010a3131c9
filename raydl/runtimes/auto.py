"""The runtime that is chosen by measuring a few steps of the problem at hand."""

import os
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch

from raydl.core.algorithm import Work
from raydl.core.errors import SpecError, require
from raydl.core.grad import parameters
from raydl.core.spec import Spec
from raydl.runtimes.batchable import check_batchable
from raydl.runtimes.problem import Problem
from raydl.runtimes.specs import Actors, Batched, RuntimeSpec, Sequential
from raydl.runtimes.worker import Worker

_START = 6.0  # seconds until a pool of actors on this machine stands
_BLOCK = 0.001  # seconds of transport for each block that an actor is sent


class Choice(NamedTuple):
    """A runtime, and why it is the one."""

    runtime: RuntimeSpec
    reason: str


@dataclass(frozen=True)
class Auto(Spec, field="runtime"):
    """Measures a few steps, one client at a time and batched, and takes what will be done first.

    Args:
        threads: of torch, in each worker.
        address: of a Ray cluster, see actors; with one, the choice is between actors alone.
    """

    threads: int = 1
    address: str | None = None

    def __post_init__(self) -> None:
        require(self.threads >= 1, "runtime.threads", self.threads, "1 or larger")

    def updates(self, cohort: int, population: int) -> int:
        """One of each client, whatever is chosen."""
        return cohort

    def choose(self, problem: Problem, cohort: np.ndarray, rounds: int) -> Choice:
        """Measures, and chooses for a run of so many rounds with cohorts like this one."""
        state = problem.algorithm.init(parameters(problem.task.model))
        work = Work(0, tuple(cohort.tolist()), problem.algorithm.plan(state))
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
            chosen = Actors(threads=self.threads, batched=batched, address=self.address)
        else:
            chosen = (Batched if batched else Sequential)(self.threads)
        return Choice(chosen, f"{chosen}: {how}; {ends}")

    def _measure(self, problem: Problem, state: object, block: Work, batched: bool) -> float:
        """The seconds that a block takes, the best of three."""
        threads = torch.get_num_threads()
        worker = Worker(problem, self.threads, batched)
        broadcast = problem.algorithm.broadcast(state)
        taken = []
        for _ in range(3):
            started = perf_counter()
            worker.fold(block, broadcast, {})
            taken.append(perf_counter() - started)
        torch.set_num_threads(threads)
        return min(taken)
