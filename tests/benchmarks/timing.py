"""Seconds a round: all contenders of a workload in turn, so that a busy machine is busy for all."""

from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import ray
import torch

from raydl.core.algorithm import Plan
from raydl.core.grad import parameters
from raydl.core.tree import Params
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from tests.benchmarks.bare import give
from tests.benchmarks.contenders import (
    WORKERS,
    Contender,
    Raydl,
    contenders,
    distance,
)
from tests.benchmarks.workloads import TIMED, prepare

_APART = {"float32": 1e-2, "bf16": 1e-1}  # relative, after one round


def measure(name: str, repeats: int, quick: bool) -> dict[str, Any]:
    """Times every contender of a workload; Ray must be connected.

    Args:
        name: of the workload.
        repeats: turns that each contender takes, after a first round that is not timed.
        quick: whether to use the small variant.

    Returns:
        ``title``; ``contenders``, a list of ``name``, ``processes``, ``threads``, ``precision``,
        ``bare``, ``seconds`` (of each round), ``median``, ``ratio`` to the fastest bare float32
        loop, and ``apart``: how far its first round's result lies from that of the first bare loop
        of its precision, relative to how far that one moved.

    Raises:
        AssertionError: if raydl and the bare loop don't compute the same.
    """
    workload = TIMED[name](quick)
    prepared = prepare(workload, 1 + repeats * workload.turn)
    everyone = list(contenders(prepared, give(prepared)))
    rows = compare(everyone, parameters(prepared.model), repeats, workload.turn)
    best = min(row["median"] for row in rows if row["bare"] and row["precision"] == "float32")
    for row in rows:
        row["ratio"] = row["median"] / best
    return {"title": workload.title, "contenders": rows}


def compare(
    everyone: list[Contender], start: Params, repeats: int, turn: int = 1
) -> list[dict[str, Any]]:
    """Lets contenders take turns, and closes them.

    Args:
        everyone: the contenders.
        start: the parameters that all of them begin with.
        repeats: turns that each contender takes, after a first round that is not timed.
        turn: rounds of a turn.

    Returns:
        For each contender what `measure` says, without the ratio.

    Raises:
        AssertionError: if those that must follow a bare loop do not.
    """
    try:
        apart = _first_round(everyone, start)
        seconds = _take_turns(everyone, repeats, turn)
    finally:
        for each in everyone:
            each.side.close()
    return [
        {
            "name": each.name,
            "processes": each.processes,
            "threads": each.threads,
            "precision": each.precision,
            "bare": each.bare,
            "seconds": seconds[at],
            "median": median(seconds[at]),
            "apart": apart[at],
        }
        for at, each in enumerate(everyone)
    ]


def _first_round(rows: list[Contender], start: Params) -> list[float]:
    """Warms everyone up, and checks that all of them train the same thing."""
    references: dict[str, Params] = {}
    apart = []
    for row in rows:
        row.round()
        result = {name: each.clone() for name, each in row.side.params().items()}
        reference = references.setdefault(row.precision, result)
        apart.append(distance(result, reference, start))
        assert not row.follows or apart[-1] < _APART[row.precision], (
            f"{row.name} ({row.processes} × {row.threads}, {row.precision}) ends {apart[-1]:.2g} "
            "from the bare loop"
        )
    return apart


def _take_turns(rows: list[Contender], repeats: int, turn: int) -> list[list[float]]:
    """The seconds of each contender's rounds; whoever began is last the next time."""
    seconds: list[list[float]] = [[] for _ in rows]
    order = list(range(len(rows)))
    for _ in range(repeats):
        for at in order:
            for _ in range(turn):
                seconds[at].append(rows[at].round())
        order = order[1:] + order[:1]
    return seconds


def paired(seconds: list[float], beside: list[float]) -> float:
    """The median of the ratios turn by turn, which a machine that is busy for a while moves less.

    Args:
        seconds: of one contender's turns.
        beside: of another's, as many.
    """
    return median(own / other for own, other in zip(seconds, beside, strict=True))


def empty_round(name: str, repeats: int, quick: bool) -> dict[str, Any]:
    """Seconds of a round on actors whose clients take no step: the driver's work and the transport.

    The cohort has one client for each block of the workload's, so that the actors have nearly
    nothing to do while as many messages travel, each as large.

    Returns:
        ``blocks``, ``bytes`` (of the broadcast and of each block's message), ``seconds`` of each
        round, ``median``, ``transport``: the median of what is left of them without the time that
        the actors worked, divided evenly, and ``ray``: the median of as many calls of actors'
        methods that take, do and return nothing.
    """
    workload = TIMED[name](quick)
    prepared = prepare(workload, 1 + repeats)
    problem = prepared.problem()
    blocks = len(problem.blocks(prepared.work[0]))
    idle = problem.algorithm._replace(plan=lambda state: Plan(batch_size=None, epochs=0))
    work = [each._replace(clients=each.clients[:blocks]) for each in prepared.work]
    runtime = ActorRuntime(
        replace(problem, algorithm=idle, block_size=1), Actors(WORKERS, cpus=1 / 4)
    )
    cohorts = replace(prepared, work=work).cohorts()
    side = Raydl(replace(problem, algorithm=idle), runtime, cohorts)
    idlers = [_Idler.remote() for _ in range(WORKERS)]
    torch.set_num_threads(1)
    rounds, calls = [], []
    try:
        for _ in range(1 + repeats):
            side.round()
            rounds.append(side.done)
            began = perf_counter()
            ray.get([idler.nothing.remote() for idler in idlers])
            calls.append(perf_counter() - began)
    finally:
        side.close()
    del rounds[0], calls[0]
    return {
        "blocks": blocks,
        "bytes": rounds[0].bytes_down // blocks,
        "seconds": [each.wall_seconds for each in rounds],
        "median": median(each.wall_seconds for each in rounds),
        "transport": median(
            each.wall_seconds - float(each.clients["seconds"].sum()) / WORKERS for each in rounds
        ),
        "ray": median(calls),
    }


@ray.remote(num_cpus=0)
class _Idler:
    def nothing(self) -> None:
        """Returns at once."""
