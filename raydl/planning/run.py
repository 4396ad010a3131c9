"""The plan of a run: its rounds are gone through, and one client makes a message, untrained.

So the bytes are those of the algorithm's own messages, and of no second description of them.
"""

from collections import Counter
from collections.abc import Iterator, Set
from functools import partial

import numpy as np
import torch

from raydl.core import cost, tree
from raydl.core.algorithm import Work
from raydl.core.cost import Exchange
from raydl.core.errors import SpecError
from raydl.core.grad import Batch, Gradient, Gradients
from raydl.core.tree import Params, Tree
from raydl.data.batches import ClientData
from raydl.planning.forecast import Comparison, Forecast, schemes
from raydl.runtimes.allreduce import check_additive, owner, summand
from raydl.runtimes.block import Folded, fold_eager
from raydl.runtimes.problem import Problem
from raydl.runtimes.specs import AllReduce
from raydl.setup import prepare
from raydl.spec import Run


def of_run(run: Run) -> Comparison:
    """What a run sends.

    Every client is taken to send as much as the first. A rule for the local steps that follows the
    training loss is followed as if the loss stayed what it is.

    Raises:
        SpecError: if the run could not be done, or if it is an all-reduce of a number of processes
            that only the cluster knows.
    """
    processes = _processes(run)
    problem, params = prepare(run)
    if processes is not None:
        check_additive(problem.algorithm)
    state = problem.algorithm.init(params)
    trained = {name for name, _ in problem.task.model.named_parameters()}
    folded = _fold(problem, trained, state, (0,))
    sent = int(folded.clients["bytes_up"])
    ways = schemes(tree.nbytes(problem.algorithm.broadcast(state)), sent, summed=sent)
    cohorts, local_steps = Counter[int](), 0
    for cohort, steps in _rounds(run, problem):
        cohorts[len(cohort)] += 1
        if processes is not None:  # each of them trains its clients one after another
            steps = np.bincount(owner(cohort, processes, len(problem.partition)), steps)
        local_steps += int(steps.max())
    first = next(iter(cohorts))

    def exchange(workers: int, cohort: int) -> Exchange:
        if processes is None:
            return ways["star"](workers)
        summed = summand(folded.accumulator, cohort, len(folded.clients))
        return cost.ring(workers, tree.nbytes(summed))

    name = "star" if processes is None else "ring"
    kind = type(run.algorithm).__name__
    forecast = Forecast(
        workers=processes or first,
        scheme=partial(exchange, cohort=first),
        rounds=cohorts.total(),
        local_steps=local_steps,
        total=sum(
            (exchange(processes or each, each) * rounds for each, rounds in cohorts.items()),
            Exchange(),
        ),
    )
    return Comparison(
        f"{kind} on {problem.dataset.name}, {sum(map(torch.numel, params.values())):,} parameters",
        {name: forecast},
        ways | {name: forecast.scheme},
    )


def _processes(run: Run) -> int | None:
    """Those of an all-reduce; None where clients talk to a server."""
    if not isinstance(run.runtime, AllReduce):
        return None
    if run.runtime.workers is None:
        raise SpecError(
            "runtime.workers is null: as many as the cluster has room for, which a plan cannot "
            "know; set --runtime.workers"
        )
    return run.runtime.workers


def _rounds(run: Run, problem: Problem) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Each round's cohort, and the local steps of each of its clients; both int64 [cohort].

    The server goes on from round to round as it would, but with a model of one parameter.
    """
    algorithm = problem.algorithm
    state = algorithm.init({"weight": torch.ones(1, 1)})
    samples, seen, reduced = len(problem.dataset.train.targets), 0, None
    for number, cohort in enumerate(run.cohorts()):
        if run.over(number, seen / samples):
            return
        if reduced is None:
            folded = _fold(problem, {"weight"}, state, tuple(cohort.tolist()))
            reduced = algorithm.reduce.result(folded.accumulator)
        plan, sizes = algorithm.plan(state), problem.partition.sizes[cohort].tolist()
        yield cohort, np.array([plan.local_steps(each) for each in sizes])
        seen += sum(plan.trained(each) for each in sizes)
        state, _ = algorithm.server(state, reduced)


def _fold(problem: Problem, trained: Set[str], state: Tree, clients: tuple[int, ...]) -> Folded:
    """What becomes of clients that take one step of one sample with a gradient of zeros."""
    algorithm = problem.algorithm
    plan = algorithm.plan(state)._replace(batch_size=1, steps=1)
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    broadcast = algorithm.broadcast(state)
    with torch.random.fork_rng([]):
        return fold_eager(algorithm, _still(trained), data, Work(0, clients, plan), broadcast, {})


def _still(trained: Set[str]) -> Gradient:
    """A gradient of zeros, and a loss of 1: as good as any other to see what is sent."""

    def gradient(params: Params, batch: Batch) -> Gradients:
        zeros = {name: torch.zeros_like(params[name]) for name in params if name in trained}
        buffers = {name: each for name, each in params.items() if name not in trained}
        return Gradients(zeros, buffers, {"loss": torch.ones(())})

    return gradient
