"""How many events a second virtual time tells, where nobody trains anything."""

from time import perf_counter
from typing import Any

from raydl.runtimes.asynchrony.clock import Workload
from raydl.runtimes.asynchrony.consistency import (
    Asynchronous,
    Consistency,
    StaleSynchronous,
    Synchronous,
)
from raydl.runtimes.simulated.cluster_model import ClusterModel
from raydl.runtimes.simulated.compute_time import Lognormal
from raydl.runtimes.simulated.timeline import Timeline


def measure(repeats: int, quick: bool) -> dict[str, Any]:
    """Simulates 1,000 local steps of each of 1,000 workers, once under every consistency.

    An event is a worker that begins, or an update that arrives.

    Args:
        repeats: counts for nothing here; a million steps are long enough.
        quick: whether to use few workers and steps.

    Returns:
        ``workers``, ``steps``; and ``virtual``: for each consistency its ``name``, the ``events``,
        the ``seconds`` that they took, ``events_a_second``, and how many ``virtual_seconds`` went
        by.
    """
    workers, steps = (20, 5) if quick else (1000, 1000)
    cases: dict[str, Consistency] = {
        "asynchronous": Asynchronous(),
        "buffer of 10": Asynchronous(buffer=10),
        "stale-synchronous, s = 4": StaleSynchronous(4),
        "synchronous": Synchronous(),
        "synchronous, 5 % backups": Synchronous(workers // 20),
    }
    return {
        "workers": workers,
        "steps": steps,
        "virtual": [{"name": name} | _case(each, workers, steps) for name, each in cases.items()],
    }


def _case(consistency: Consistency, workers: int, steps: int) -> dict[str, float]:
    speed = Lognormal(1.0, spread=0.5, jitter=0.2)
    conditions = ClusterModel(
        consistency, speed, stragglers=0.1, slowdown=3.0, latency=0.01, down=1e9, up=1e9
    )
    clock = Timeline(workers, 0, conditions)
    cohort, load = range(workers), Workload(1, 400_000, 400_000)
    arrivals = version = events = 0
    started = perf_counter()
    while arrivals < workers * steps:
        step = clock.advance(version, cohort, lambda worker: load, again=True)
        arrivals += len(step.arrivals)
        events += step.traffic.messages
        version += 1
    seconds = perf_counter() - started
    return {
        "events": events,
        "seconds": seconds,
        "events_a_second": events / seconds,
        "virtual_seconds": clock.now,
    }
