"""W4: many registered clients, of which few take part: memory, and time a round."""

import os
from collections.abc import Iterator
from statistics import median
from typing import Any

import psutil
import torch

from raydl.algorithms import FedAvg
from raydl.models import Softmax
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks.contenders import WORKERS, Raydl
from tests.benchmarks.workloads import Workload, images, prepare

_SAMPLES = 10  # of each client


def measure(registered: int, cohort: int, rounds: int) -> dict[str, Any]:
    """Runs ``rounds`` rounds on 2 actors, in a process that has done nothing else.

    Afterwards as many rounds again in turn with another run that has only the cohort registered.

    Args:
        registered: clients (N).
        cohort: of them in a round.
        rounds: to run.

    Returns:
        ``registered``, ``cohort``; ``memory``: bytes after each round, of the driver, its actors
        and Ray's own processes together, shared pages counted once; ``seconds`` of each round in
        turn, and ``seconds_cohort_only``; ``ratio`` of their medians.
    """
    torch.set_num_threads(1)
    with connected(None, WORKERS):
        many = _start(registered, cohort, 2 * rounds)
        memory = []
        for _ in range(rounds):
            many.round()
            memory.append(_resident())
        few = _start(cohort, cohort, rounds)
        pairs = [(many.round(), few.round()) for _ in range(rounds)]
        many.close()
        few.close()
    seconds, seconds_few = (list(column) for column in zip(*pairs, strict=True))
    return {
        "registered": registered,
        "cohort": cohort,
        "memory": memory,
        "seconds": seconds,
        "seconds_cohort_only": seconds_few,
        "ratio": median(seconds) / median(seconds_few),
    }


def _start(registered: int, cohort: int, rounds: int) -> Raydl:
    workload = Workload(
        f"{registered} registered clients",
        lambda: images(registered * _SAMPLES, 8, 1, 10),
        Softmax,
        FedAvg(lr=0.1, batch_size=_SAMPLES, epochs=1),
        registered,
        cohort / registered,
    )
    prepared = prepare(workload, rounds)
    problem = prepared.problem()
    pool = ActorRuntime(problem, Actors(WORKERS, cpus=1 / 4, batched=True))
    return Raydl(problem, pool, prepared.cohorts())


def _resident() -> int:
    """Proportional set sizes of this process and all below it."""
    return sum(_proportional(process) for process in _family())


def _family() -> Iterator[psutil.Process]:
    driver = psutil.Process(os.getpid())
    yield driver
    yield from driver.children(recursive=True)


def _proportional(process: psutil.Process) -> int:
    try:
        return process.memory_full_info().pss
    except psutil.NoSuchProcess:
        return 0
