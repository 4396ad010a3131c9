"""How raydl's actors scale over the nodes of a cluster, here processes on this machine.

    python -m tests.benchmarks.scaling [--only efficiency,driver] [--repeats 5] [--json] [--quick]

Rounds of clients whose work is a sleep of 0.5 s, on 1, 2, 4 and 8 Ray nodes of one logical CPU:
what part of the round is that sleep, when all nodes have as many clients. And what one client with
a model of 3 MB costs the driver, which bounds the actors that it can feed: all results merged by
the driver, or by the actors first (``fan_in``), in turn.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import repeat
from statistics import median
from typing import Any

import numpy as np
import ray
from ray.cluster_utils import Cluster

from raydl import Model, Run
from raydl.algorithms import FedAvg
from raydl.assembly.assemble import assemble
from raydl.core.algorithm import Plan
from raydl.data import Synthetic
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import command
from tests.benchmarks.contenders import Raydl
from tests.benchmarks.naps import Nap

_NODES = (1, 2, 4, 8)
_BLOCKS = 4  # on each node, in a round
_SLEEP = 0.5  # seconds of a block
_WIDE = (880, 768)  # with 64 inputs and 10 classes, 3 MB of parameters
_FAN_INS = (1, 4, 16)
_ACTORS = 16  # each of which has one block a round


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    parts = {"efficiency": _efficiency, "driver": _driver}
    command.run("tests.benchmarks.scaling", __doc__, parts, arguments)


def _efficiency(repeats: int, quick: bool) -> dict[str, Any]:
    """Rounds of sleeping clients on more and more nodes.

    Returns:
        ``sleep``, the seconds of each block; ``blocks`` of each node in a round; and in
        ``efficiency`` for each number of ``nodes`` the ``seconds`` of its rounds, their ``median``,
        and the ``ratio`` of the sleep to it.
    """
    sizes, sleep = (_NODES[:2], 0.05) if quick else (_NODES, _SLEEP)
    rows = []
    with _cluster() as cluster:
        for nodes in sizes:
            while len(cluster.worker_nodes) < nodes:
                cluster.add_node(num_cpus=1, object_store_memory=100_000_000, wait=False)
            cluster.wait_for_nodes()
            problem = replace(_problem(nodes * _BLOCKS, (32,)), augmentation=Nap(sleep))
            seconds = _rounds(problem, nodes, cpus=1, repeats=repeats)
            ratio = _BLOCKS * sleep / median(seconds)
            rows.append(
                {"nodes": nodes, "seconds": seconds, "median": median(seconds), "ratio": ratio}
            )
    return {"sleep": sleep, "blocks": _BLOCKS, "efficiency": rows}


def _driver(repeats: int, quick: bool) -> dict[str, Any]:
    """What a block costs the driver's process, of clients that do nothing.

    Returns:
        ``bytes`` of a block's result; ``blocks`` of a round; and in ``driver`` for each ``fan_in``
        by block the seconds of the driver's ``thread``, of its process with Ray's threads (``cpu``)
        and of the round (``wall``), and how many workers with blocks of half a second the thread
        ``feeds``.
    """
    actors, hidden, fan_ins = (2, (32,), (1, 2)) if quick else (_ACTORS, _WIDE, _FAN_INS)
    idle = _problem(actors, hidden)
    idle = replace(idle, algorithm=idle.algorithm._replace(plan=lambda state: Plan(None, 0)))
    taken: dict[int, list[tuple[float, ...]]] = {fan_in: [] for fan_in in fan_ins}
    with _cluster() as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=400_000_000, wait=False)
        cluster.wait_for_nodes()
        pools = {
            fan_in: ActorRuntime(replace(idle, fan_in=fan_in), Actors(actors, cpus=0.01))
            for fan_in in fan_ins
        }
        sides = {
            fan_in: Raydl(idle, pool, repeat(np.arange(actors))) for fan_in, pool in pools.items()
        }
        for side in sides.values():  # until all actors are up, and Ray's memory is not new
            for _ in range(10):
                side.round()
        for _ in range(4 * repeats):
            for fan_in, side in sides.items():
                before = time.thread_time(), time.process_time(), time.perf_counter()
                side.round()
                after = time.thread_time(), time.process_time(), time.perf_counter()
                each = zip(before, after, strict=True)
                taken[fan_in].append(tuple((end - start) / actors for start, end in each))
        size = side.done.bytes_up // actors
        for pool in pools.values():
            pool.close()
    rows = []
    for fan_in, each in taken.items():
        thread, cpu, wall = (median(column) for column in zip(*each, strict=True))
        took = {"thread": thread, "cpu": cpu, "wall": wall}
        rows.append({"fan_in": fan_in, **took, "feeds": int(_SLEEP / thread)})
    return {"bytes": size, "blocks": actors, "driver": rows}


@contextmanager
def _cluster() -> Iterator[Cluster]:
    """A head without workers, to which this process is connected."""
    head = {"num_cpus": 0, "object_store_memory": 400_000_000, "include_dashboard": False}
    assert not ray.is_initialized(), "this process is connected to another cluster"
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        with connected(cluster.address, cpus=0):
            yield cluster
    finally:
        cluster.shutdown()


def _problem(clients: int, hidden: Sequence[int]) -> Problem:
    """Clients with one minibatch each, every one of them a block."""
    data = Synthetic(8 * clients, test=0, classes=10, size=8, channels=1, validation=0)
    model = Model("MLP", {"hidden": list(hidden)})
    algorithm = FedAvg(epochs=1, batch_size=None)
    run = Run(algorithm, data, model=model, clients=clients, rounds=1, block_size=1)
    return assemble(run).problem


def _rounds(problem: Problem, workers: int, cpus: float, repeats: int) -> list[float]:
    """The seconds of rounds of everybody, after one in which the workers start."""
    pool = ActorRuntime(problem, Actors(workers, cpus))
    side = Raydl(problem, pool, repeat(np.arange(len(problem.partition))))
    try:
        while pool._pool.workers < workers:
            side.round()
        return [side.round() for _ in range(repeats)]
    finally:
        pool.close()


if __name__ == "__main__":
    main()
