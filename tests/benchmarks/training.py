"""What raydl's data-parallel training costs on this machine, beside loops in plain torch.

    python -m tests.benchmarks.training [--only alone,ddp,localsgd,optimizers] [--repeats 5]
                                        [--json] [--quick]

The CIFAR CNN learns from images of CIFAR-100's size and number, cropped and flipped at random, in
minibatches of 64 by SGD with momentum, in float32 and in bfloat16: by one process; by two that
share each minibatch (DDP); and by two that average after 16 steps of their own (local SGD). raydl's
rounds and those of the bare loops, which never wait for Ray, take turns; local SGD's bare loops
never average either. At last, steps of LARS and LAMB beside torch's optimizers, on ResNet-18.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import repeat
from operator import itemgetter
from typing import Any, TypeAlias

import numpy as np

from raydl import Run
from raydl.algorithms import DataParallel, LocalSGD
from raydl.assembly.assemble import assemble
from raydl.core.algorithm import AlgorithmSpec
from raydl.core.grad import parameters
from raydl.core.task import Precision
from raydl.data import CropFlip, Synthetic
from raydl.optim import SGD
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import command, optimizers
from tests.benchmarks.contenders import WORKERS, Contender, Raydl
from tests.benchmarks.grouped import Grouped
from tests.benchmarks.loops import Given, Group, Loop, give
from tests.benchmarks.timing import compare, paired

Contenders: TypeAlias = Callable[[Problem, list[Given], int], Iterator[Contender]]

PRECISIONS: tuple[Precision, ...] = ("float32", "bf16")
OPTIMIZER = SGD(lr=0.01, momentum=0.9, weight_decay=1e-3)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    parts = {"alone": _alone, "ddp": _ddp, "localsgd": _localsgd, "optimizers": _optimizers}
    command.run("tests.benchmarks.training", __doc__, parts, arguments)


def prepared(algorithm: AlgorithmSpec, samples: int, rounds: int) -> Problem:
    """What ``raydl run`` makes of such a run on the CIFAR CNN."""
    data = Synthetic(samples, test=0, classes=100, size=32, channels=3, validation=0)
    return assemble(Run(algorithm, data, augmentation=CropFlip(), rounds=rounds)).problem


def _alone(repeats: int, quick: bool) -> dict[str, Any]:
    return measure(partial(DataParallel, OPTIMIZER), _one_process, repeats, quick)


def _ddp(repeats: int, quick: bool) -> dict[str, Any]:
    with connected(None, WORKERS):
        return measure(partial(DataParallel, OPTIMIZER), _two_processes, repeats, quick)


def _localsgd(repeats: int, quick: bool) -> dict[str, Any]:
    with connected(None, WORKERS):
        return measure(partial(LocalSGD, WORKERS, OPTIMIZER), _two_processes, repeats, quick)


def _optimizers(repeats: int, quick: bool) -> dict[str, Any]:
    return optimizers.measure(repeats if quick else 20 * repeats)


def measure(
    algorithm: Callable[..., AlgorithmSpec], contenders: Contenders, repeats: int, quick: bool
) -> dict[str, Any]:
    """Lets the contenders take turns, in one precision and then in the other.

    Args:
        algorithm: with a worker's ``batch_size``, and the local ``steps`` that make a round.
        contenders: of a problem, of what the bare loops train, and of the steps.
        repeats: turns of each, after a first one that is not timed.
        quick: whether to use small sizes, and float32 only.

    Returns:
        ``title``; ``contenders``, as `timing.compare` has it, with the ``ratio`` to the fastest
        bare loop of the same precision; and ``ratios``: that of raydl's fastest, by precision.
    """
    samples, batch, steps = (200, 8, 2) if quick else (50_000, 64, 16)
    spec = algorithm(batch_size=batch, steps=steps)
    problem = prepared(spec, samples, 1 + repeats)
    start = parameters(problem.task.model)
    everyone, ratios = [], {}
    for precision in PRECISIONS[:1] if quick else PRECISIONS:
        same = replace(problem, task=problem.task._replace(precision=precision))
        given = give(same, OPTIMIZER, spec.batch_size, steps * (1 + repeats))
        rows = compare(list(contenders(same, given, steps)), start, repeats)
        fastest = {row["bare"]: row for row in sorted(rows, key=itemgetter("median"), reverse=True)}
        for row in rows:
            row["ratio"] = paired(row["seconds"], fastest[True]["seconds"])
        ratios[precision] = fastest[False]["ratio"]
        everyone += rows
    title = f"{type(spec).__name__}, CIFAR CNN, B={batch}, {steps} steps a round"
    return {"title": title, "contenders": everyone, "ratios": ratios}


def _one_process(problem: Problem, given: list[Given], steps: int) -> Iterator[Contender]:
    precision = problem.task.precision
    for threads in (1, 2):
        own = given[0]._replace(model=copy.deepcopy(given[0].model))
        yield Contender("bare", 1, threads, precision, True, Loop(own, steps))
        side = Raydl(problem, LocalRuntime(problem, threads=threads), repeat(np.arange(1)))
        yield Contender("sequential", 1, threads, precision, True, side)


def _two_processes(problem: Problem, given: list[Given], steps: int) -> Iterator[Contender]:
    """Two that share one worker's minibatches, or two workers."""
    shared = len(given) == 1
    bare = Group(given, WORKERS, steps, averaging="DDP" if shared else None)
    precision = problem.task.precision
    yield Contender("bare", WORKERS, 1, precision, True, bare)
    yield Contender("allreduce", WORKERS, 1, precision, True, Grouped(problem, WORKERS))


if __name__ == "__main__":
    main()
