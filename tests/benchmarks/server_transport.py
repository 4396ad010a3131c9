"""What a parameter server's transport costs: beside plain copies, and beside an all-reduce.

    python -m tests.benchmarks.server_transport [--repeats 5] [--quick]

A push and a pull of a vector are copied this often on their way, and no more: from the worker into
Ray's memory; from the shard into Ray's memory; and, where there are several shards, by the worker,
who joins the parts. In between they are read in place. A step is one of 2 workers on the CIFAR CNN,
in turn with two processes that do nothing else than exchange their gradients by gloo's all-reduce.
"""

import argparse
import copy
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import repeat
from multiprocessing.connection import Connection
from operator import itemgetter
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import ray
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.multiprocessing import get_context

from raydl.algorithms import ParameterServer
from raydl.core.algorithm import Algorithm, Client, Plan, Work
from raydl.core.grad import Task, cross_entropy, parameters
from raydl.core.reduce import total
from raydl.core.tree import Params
from raydl.data import IID, Synthetic
from raydl.data.batches import ClientData
from raydl.models import CifarCNN
from raydl.optim.schedule import Constant
from raydl.optim.specs import SGD
from raydl.rounds import rounds
from raydl.runtimes.cluster import connected
from raydl.runtimes.consistency import Synchronous
from raydl.runtimes.messages import Header, Progress, Snapshot
from raydl.runtimes.parameter_server import ShardedServer
from raydl.runtimes.problem import Problem
from raydl.runtimes.shard import Shard
from raydl.runtimes.sharding import Sharding
from raydl.runtimes.shared import received, wired

_SHARDS = (1, 2, 4)
_LR, _MOMENTUM, _BATCH = 0.01, 0.9, 32


def measure(repeats: int, quick: bool) -> dict[str, Any]:
    """Measures both; Ray must be connected.

    Args:
        repeats: turns of each, after a first one that is not counted.
        quick: whether to use small sizes.

    Returns:
        ``transport`` and ``steps``, see `transport` and `steps`.
    """
    torch.set_num_threads(1)
    return {
        "transport": transport(repeats, 10**6 if quick else 100 * 10**6),
        "steps": steps(repeats, 3 if quick else 30),
    }


def transport(repeats: int, size: int) -> dict[str, Any]:
    """Pushes and pulls a vector of so many bytes.

    Returns:
        ``copy``: the seconds of a plain copy of it; and for each number of shards ``copies`` on
        the path, ``seconds`` of each push and pull, the ``median``, and what part it is ``of`` the
        speed that the copies allow.
    """
    vector, other = torch.rand(size // 4), torch.empty(size // 4)
    exchanges = {shards: _exchange(shards, vector) for shards in _SHARDS}
    seconds: dict[int, list[float]] = {shards: [] for shards in (0, *_SHARDS)}
    for _ in range(1 + repeats):
        seconds[0].append(_timed(lambda: other.copy_(vector)))
        for shards, exchange in exchanges.items():
            seconds[shards].append(_timed(exchange))
    copy = median(seconds[0][1:])
    figures: dict[str, Any] = {"bytes": size, "copy": copy}
    for shards in _SHARDS:
        taken, copies = median(seconds[shards][1:]), 2 if shards == 1 else 3
        figures[str(shards)] = {
            "copies": copies,
            "seconds": seconds[shards][1:],
            "median": taken,
            "of": copies * copy / taken,
        }
    return figures


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
        ray.remote(num_cpus=0)(Shard).remote(number, replacing, pieces, [1], Synchronous())
        for number, pieces in enumerate(sharding.shards)
    ]
    start = sharding.cut({"params": params})
    loads = zip(actors, start, strict=True)
    ray.get([each.load.remote(Snapshot(Progress(0, 0), wired(part), [])) for each, part in loads])
    ray.get([each.open.remote(Progress(10**9, 10**9), 0, [0], True) for each in actors])
    done = [0]

    def exchange() -> Params:
        push = {"weight": torch.ones((), dtype=torch.float64), "sum": params}
        calls = []
        for actor, part in zip(actors, sharding.cut(push), strict=True):
            wire = wired(part)
            header = Header(0, None, done[0], wire.nbytes, {"client": 0.0})
            calls.append(actor.exchange.remote(header, wire))
        done[0] += 1
        pulled: Params = sharding.join([received(part) for _, part in ray.get(calls)])
        return pulled

    torch.testing.assert_close(exchange(), params)
    return exchange


def steps(repeats: int, each: int) -> dict[str, Any]:
    """Trains the CIFAR CNN with 2 workers, ``each`` steps at a time.

    Returns:
        ``bare`` and ``server``: seconds a step in every turn; their medians' ``ratio``; ``apart``:
        how far the parameters lie apart in the end, relative to their length.
    """
    data = Synthetic(samples=4096, test=100, size=32, channels=3, classes=100).load()
    torch.manual_seed(0)
    model = CifarCNN(data.shape, data.classes)
    spec = ParameterServer(2, SGD(_LR, _MOMENTUM), Constant(), _BATCH, exchanges=each)
    partition = IID().assign(data.train.targets.numpy(), 2, 0)
    problem = Problem(spec.build(), Task(model, cross_entropy), data, partition)
    server = ShardedServer(problem, cpus=1 / 4, snapshot=1000)
    seconds: dict[str, list[float]] = {"bare": [], "server": []}
    with _pair(problem, each) as bare:
        loop = rounds(
            problem.algorithm,
            server,
            problem.algorithm.init(parameters(model)),
            repeat(np.arange(2)),
        )
        for _ in range(1 + repeats):
            seconds["bare"].append(_timed(bare) / each)
            seconds["server"].append(_timed(lambda: next(loop)) / each)
        trained = next(loop).state["params"]
        expected = bare()
    server.close()
    ours, theirs = (
        torch.cat([params[name].flatten() for name in sorted(params)])
        for params in (trained, expected)
    )
    middle = {name: median(taken[1:]) for name, taken in seconds.items()}
    return {name: taken[1:] for name, taken in seconds.items()} | {
        "ratio": middle["server"] / middle["bare"],
        "apart": float((ours - theirs).norm() / theirs.norm()),
    }


@contextmanager
def _pair(problem: Problem, each: int) -> Iterator[Callable[[], Params]]:
    """Two bare processes; the call that is yielded has them take so many steps."""
    context = get_context("spawn")
    pipes, processes = [], []
    shared = problem.task.model, problem.dataset, problem.partition
    with TemporaryDirectory() as folder:
        for rank in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=_train, args=(rank, folder, shared, each, theirs))
            process.start()
            pipes.append(ours)
            processes.append(process)

        def go() -> Params:
            for pipe in pipes:
                pipe.send(True)
            first, _ = [pipe.recv() for pipe in pipes]
            return {name: torch.from_numpy(each) for name, each in first.items()}

        yield go
        for pipe, process in zip(pipes, processes, strict=True):
            pipe.send(False)
            process.join()


def _train(rank: int, folder: str, shared: Any, each: int, pipe: Connection) -> None:
    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    model, dataset, partition = shared
    model = copy.deepcopy(model).to(memory_format=torch.channels_last)  # what was sent is shared
    optimizer = torch.optim.SGD(model.parameters(), _LR, _MOMENTUM)
    data = ClientData(dataset, partition, seed=0)
    work = Work(0, (rank,), Plan(_BATCH, steps=10**6, first=0))
    batches = data.batches(work, rank)
    while pipe.recv():
        for _ in range(each):
            batch = next(batches)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch.inputs), batch.targets).backward()
            grads = [parameter.grad for parameter in model.parameters()]
            flat = torch.cat([grad.flatten() for grad in grads])
            dist.all_reduce(flat)
            for grad, part in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
                grad.copy_(part.view_as(grad)).div_(2)
            optimizer.step()
        named = model.named_parameters()
        pipe.send({name: own.detach().contiguous().numpy() for name, own in named})
    dist.destroy_process_group()


def _timed(action: Callable[[], Any]) -> float:
    began = perf_counter()
    action()
    return perf_counter() - began


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    with connected(None, cpus=2):
        print(json.dumps(measure(options.repeats, options.quick), indent=2))
