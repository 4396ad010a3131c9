"""What a push and a pull of a long vector cost beside a plain copy of it."""

from collections.abc import Callable
from operator import itemgetter
from statistics import median
from time import perf_counter
from typing import Any

import ray
import torch
from torch import Tensor

from raydl.core.algorithm import Algorithm, Client, Plan
from raydl.core.reduce import total
from raydl.core.tree import Params
from raydl.runtimes.asynchrony.consistency import Synchronous
from raydl.runtimes.parameter_server.layout import Sharding
from raydl.runtimes.parameter_server.messages import Header, ShardProgress, Snapshot
from raydl.runtimes.parameter_server.shard import Shard
from raydl.runtimes.ray_cluster.cluster import connected
from raydl.runtimes.ray_cluster.transport import fetch, from_wire, to_wire
from raydl.runtimes.worker.memory import keep_freed_memory

_SHARDS = (1, 2, 4)
_FIRST = 10  # exchanges that are not timed: until then Ray's memory is new to its processes


def measure(repeats: int, quick: bool) -> dict[str, Any]:
    """Pushes and pulls a vector of 100 MB through 1, 2 and 4 shards, in turn with copying it.

    An exchange copies the vector this often and no more: from the worker into Ray's memory; from
    the shard into Ray's memory; and, where there are several shards, by the worker, who joins the
    parts. In between it is read in place.

    Args:
        repeats: turns of four exchanges each.
        quick: whether to use a small vector, and 1 and 2 shards only.

    Returns:
        ``bytes``; ``copy``, the seconds of a plain copy; and in ``transport`` for each number of
        ``shards`` the ``copies`` on the path, the ``seconds`` of each push and pull, their
        ``median``, and what part it reaches ``of`` the speed that the copies allow.
    """
    torch.set_num_threads(1)
    keep_freed_memory()  # as workers do
    size, turns, numbers = 100 * 10**6, 4 * repeats, _SHARDS
    if quick:
        size, turns, numbers = 10**6, repeats, _SHARDS[:2]
    vector, other = torch.rand(size // 4), torch.empty(size // 4)
    copies: list[float] = []
    seconds: dict[int, list[float]] = {shards: [] for shards in numbers}
    with connected(None, cpus=2):
        exchanges = {shards: _exchange(shards, vector) for shards in numbers}
        for _ in range(_FIRST + turns):
            copies.append(_timed(lambda: other.copy_(vector)))
            for shards, exchange in exchanges.items():
                seconds[shards].append(_timed(exchange))
    copy = median(copies[_FIRST:])
    rows = [_row(shards, taken[_FIRST:], copy) for shards, taken in seconds.items()]
    return {"bytes": size, "copy": copy, "transport": rows}


def _row(shards: int, seconds: list[float], copy: float) -> dict[str, Any]:
    copies, middle = 2 if shards == 1 else 3, median(seconds)
    return {
        "shards": shards,
        "copies": copies,
        "seconds": seconds,
        "median": middle,
        "of": copies * copy / middle,
    }


def _exchange(shards: int, vector: Tensor) -> Callable[[], Any]:
    """A push of the vector to so many shards, whose parameters it replaces, and a pull."""
    replacing = Algorithm(
        init=lambda params: {"params": params},
        params=itemgetter("params"),
        plan=lambda state: Plan(None),
        broadcast=itemgetter("params"),
        client=Client(lambda *_: {}, lambda *_: ({}, {}), lambda *_: ({}, {})),
        reduce=total(),
        server=lambda state, push: ({"params": push}, {}),
        elementwise=True,
    )
    params: Params = {"vector": vector}
    sharding = Sharding(params, shards)
    actors = [
        ray.remote(num_cpus=0)(Shard).remote(number, replacing, 0, pieces, [1], Synchronous())
        for number, pieces in enumerate(sharding.shards)
    ]
    start = sharding.cut({"params": params})
    loads = zip(actors, start, strict=True)
    ray.get(
        [
            each.load.remote(Snapshot(ShardProgress(0, 0), to_wire(part), [], {}))
            for each, part in loads
        ]
    )
    ray.get([each.open.remote(ShardProgress(10**9, 10**9), 0, [0], fresh=True) for each in actors])
    done = [0]

    def exchange() -> Params:
        calls = []
        for actor, part in zip(actors, sharding.cut(params), strict=True):
            wire = to_wire(part)
            header = Header(0, None, done[0], wire.nbytes, {"client": 0.0})
            calls.append(actor.push_pull.remote(header, wire))
        done[0] += 1
        pulled: Params = sharding.join([from_wire(fetch(part)) for _, part in ray.get(calls)])
        return pulled

    torch.testing.assert_close(exchange(), params)
    return exchange


def _timed(action: Callable[[], Any]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began
