"""What parameter servers cost on this machine.

    python -m tests.benchmarks.parameter_server [--only transport,steps,simulated] [--repeats 5]
                                                [--json] [--quick]

A push and a pull of 100 MB through 1, 2 and 4 shards, in turn with plain copies of the same bytes.
Synchronous steps of 2 workers on the CIFAR CNN, in turn with two bare processes that average their
gradients over gloo: by one all-reduce after the backward pass, or by torch's DDP, which overlaps
the two. And the clock of the runtime ``simulated`` without any training,
where 1,000 workers take 1,000 steps each. The figures mean something on an otherwise idle machine
only.
"""

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import Any, get_args

import numpy as np

from raydl.algorithms import ParameterServer
from raydl.core.algorithm import AlgorithmSpec
from raydl.runtimes.parameter_server.runtime import ShardedServerRuntime
from raydl.runtimes.parameter_server.spec import ShardedServer
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import command, server_transport, training, virtual_time
from tests.benchmarks.contenders import WORKERS, Contender, Raydl
from tests.benchmarks.loops import Averaging, Given, Group


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    parts = {
        "transport": server_transport.measure,
        "steps": _steps,
        "simulated": virtual_time.measure,
    }
    command.run("tests.benchmarks.parameter_server", __doc__, parts, arguments)


def _steps(repeats: int, quick: bool) -> dict[str, Any]:
    with connected(None, WORKERS):
        return training.measure(_algorithm, _contenders, repeats, quick)


def _algorithm(batch_size: int, steps: int) -> AlgorithmSpec:
    """Its minibatches are as large as one machine's when put together."""
    return ParameterServer(
        WORKERS, training.OPTIMIZER, batch_size=batch_size // WORKERS, exchanges=steps
    )


def _contenders(problem: Problem, given: list[Given], steps: int) -> Iterator[Contender]:
    precision = problem.task.precision
    for averaging in get_args(Averaging):
        bare = Group(given, WORKERS, steps, averaging)
        yield Contender(f"bare, {averaging}", WORKERS, 1, precision, True, bare)
    server = ShardedServerRuntime(problem, ShardedServer(cpus=1 / 4))
    everyone = repeat(np.arange(WORKERS))
    side = Raydl(problem, server, everyone)
    yield Contender("parameter_server", WORKERS, 1, precision, True, side)


if __name__ == "__main__":
    main()
