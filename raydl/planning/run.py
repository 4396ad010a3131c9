"""The plan of a run: clients make a message of one sample, and the rounds are gone through.

So the bytes are those of the algorithm's own messages, and of no second description of them.
"""

from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist

from raydl.assembly.assemble import assemble, count_clients
from raydl.communication import cost
from raydl.communication.cost import Communication
from raydl.config.run import Run
from raydl.core import tree
from raydl.core.algorithm import Work
from raydl.core.errors import SpecError
from raydl.core.grad import Batch, Gradient, Gradients, eager
from raydl.core.rng import forked, seed_draws
from raydl.core.tree import Params, Tree
from raydl.data.batches import ClientData
from raydl.data.participations.selector import Cohort
from raydl.planning.forecast import Comparison, Forecast, schemes
from raydl.runtimes.allreduce.ddp import SharedGradient
from raydl.runtimes.allreduce.runtime import check_additive, owner, summand
from raydl.runtimes.problem import Problem
from raydl.runtimes.worker.block import BlockResult, BlockTrainer
from raydl.runtimes.worker.client_states import ClientStates


def of_run(run: Run) -> Comparison:
    """What a run sends.

    Every client is taken to receive and to send as much as the first. A rule for the local steps
    that follows the training loss is followed as if the loss stayed what it is.

    Raises:
        SpecError: if the run could not be done; or if it is an all-reduce of a number of processes
            that only the cluster knows, or of gradients that are not compressed alike in all steps,
            or in virtual time whose rounds are not those of everybody.
    """
    run.runtime.check_foreseeable()
    processes = _processes(run)
    problem, params = assemble(run)
    run, algorithm = count_clients(run, problem.dataset), problem.algorithm
    if processes is not None:
        check_additive(algorithm)
    state = algorithm.init(params)
    cohort = (0,) if processes is None else tuple(next(run.cohorts()).tolist())
    exchanges = _exchanges(problem, state, cohort)
    usual, final = exchanges[tuple(state)], [*exchanges.values()][-1]
    ways = schemes(usual.received, final.sent, summed=final.sent)
    shared = processes is not None and algorithm.hook is not None
    step = _shared_step(problem, state) if shared else _Step()

    def round_of(workers: int, clients: int, meetings: _Meetings) -> Communication:
        each = (once(workers, clients, kind, steps) * often for (kind, steps), often in meetings)
        return sum(each, Communication())

    def once(workers: int, clients: int, kind: _Kind, steps: int) -> Communication:
        exchange = exchanges.get(kind, usual)
        if processes is None:
            return cost.star(workers, exchange.received, exchange.sent, run.runtime.shards)
        block = exchange.block
        last = tree.nbytes(summand(block.accumulator, clients, len(block.clients)))
        return cost.ring(workers, steps * step.nbytes + last, steps * step.calls + 1)

    def slowest(clients: Cohort, steps: npt.NDArray[np.int64]) -> int:
        if processes is not None and not shared:  # each trains its clients one after another
            steps = np.bincount(owner(clients, processes, len(problem.partition)), steps)
        return int(steps.max())

    # By the clients of the cohort, and how often which exchange comes after how many local steps.
    rounds = Counter[tuple[int, _Meetings]]()
    for clients, meetings in _rounds(run, problem):
        often = Counter((kind, slowest(clients, steps)) for kind, steps in meetings)
        rounds[len(clients), tuple(often.items())] += 1
    first = next(iter(rounds))
    name = "star" if processes is None else "ring"
    forecast = Forecast(
        workers=processes or first[0],
        scheme=lambda workers: round_of(workers, *first),
        rounds=rounds.total(),
        local_steps=sum(
            steps * often * times
            for (_, meetings), times in rounds.items()
            for (_, steps), often in meetings
        ),
        total=sum(
            (round_of(processes or one[0], *one) * times for one, times in rounds.items()),
            Communication(),
        ),
        client_state=tree.nbytes(final.block.states.columns)
        // max(1, len(final.block.states))
        * len(problem.partition),
    )
    kind = type(run.algorithm).__name__
    return Comparison(
        f"{kind} on {problem.dataset.name}, {sum(map(torch.numel, params.values())):,} parameters",
        {name: forecast},
        ways | {name: forecast.scheme},
    )


def _processes(run: Run) -> int | None:
    """Those of an all-reduce; None where clients talk to a server."""
    group = run.runtime.group()
    if group is None:
        return None
    if group.least != group.most:
        given = None if group.most is None else f"{group.least}..{group.most}"
        raise SpecError(
            f"runtime.workers is {given!r}, which leaves it to the cluster how many there are; to "
            "plan, set --runtime.workers to a number"
        )
    return group.most


class _Step(NamedTuple):
    """What a process puts into all-reduces within one local step."""

    calls: int = 0
    nbytes: int = 0


def _shared_step(problem: Problem, state: Tree) -> _Step:
    """That of processes that share each minibatch: one step is taken, by a group of one process."""
    assert problem.algorithm.hook is not None
    store = dist.HashStore()  # type: ignore[attr-defined]  # of which torch's stubs do not know
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        sync = problem.algorithm.hook.open()
        if not tree.is_empty(sync.state()):
            raise SpecError(
                f"algorithm.hook is {problem.algorithm.hook}, which goes by what it keeps from "
                "step to step; a plan can follow those that send as much in each, such as Plain"
            )
        _one_step(problem, SharedGradient(problem.task, sync), state, (0,))
        return _Step(sync.calls, sync.nbytes)
    finally:
        dist.destroy_process_group()


_Kind: TypeAlias = tuple[str, ...]  # of a server's step: what there is in the state before it
# How often a server's step is of a kind and comes after so many local steps of the slowest client.
_Meetings: TypeAlias = tuple[tuple[tuple[_Kind, int], int], ...]


class _Exchange(NamedTuple):
    """What a client receives before a step of the server, what it sends, and what comes of it."""

    received: int
    sent: int
    block: BlockResult
    reduced: Tree


def _exchanges(problem: Problem, state: Tree, cohort: tuple[int, ...]) -> dict[_Kind, _Exchange]:
    """Those of a round, one for each kind of server step, in turn."""
    algorithm, found = problem.algorithm, dict[_Kind, _Exchange]()
    for _ in range(algorithm.plan(state).server_steps):
        if (kind := tuple(state)) not in found:
            block = _one_step(problem, eager(problem.task), state, cohort)
            if not block.clients["finite"].all():
                raise SpecError(
                    "the first step leads to a NaN or an infinity; lower the learning rate"
                )
            found[kind] = _Exchange(
                received=tree.nbytes(algorithm.client.receive(algorithm.broadcast(state), 0)),
                sent=int(block.clients["bytes_up"][0]),
                block=block,
                reduced=algorithm.reduce.result(block.accumulator),
            )
        state, _ = algorithm.server(state, found[kind].reduced)
    return found


def _rounds(
    run: Run, problem: Problem
) -> Iterator[tuple[Cohort, list[tuple[_Kind, npt.NDArray[np.int64]]]]]:
    """Each round's cohort, and before each of its server steps the kind and clients' local steps.

    Both are int64 [cohort]. The server goes on as it would, but with a model of one parameter.
    """
    algorithm = problem.algorithm
    state = algorithm.init({"weight": torch.ones(1, 1)})
    samples, seen, reduced = len(problem.dataset.train.targets), 0, dict[_Kind, Tree]()
    for number, cohort in enumerate(run.cohorts()):
        if run.over(number, seen / samples):
            return
        sizes, meetings = problem.partition.sizes[cohort].tolist(), []
        for _ in range(algorithm.plan(state).server_steps):
            plan, kind = algorithm.plan(state), tuple(state)
            if kind not in reduced:
                block = _one_step(problem, _still, state, tuple(cohort.tolist()))
                reduced[kind] = algorithm.reduce.result(block.accumulator)
            meetings.append((kind, np.array([plan.local_steps(each) for each in sizes])))
            seen += sum(plan.trained_samples(each) for each in sizes)
            state, _ = algorithm.server(state, reduced[kind])
        yield cohort, meetings


def _one_step(
    problem: Problem, gradient: Gradient, state: Tree, clients: tuple[int, ...]
) -> BlockResult:
    """What becomes of clients that take one step of one sample."""
    algorithm = problem.algorithm
    plan = algorithm.plan(state)._replace(batch_size=1, steps=1)
    data = ClientData(problem.dataset, problem.partition, problem.seed)
    broadcast = algorithm.broadcast(state)
    problem.task.model.eval()  # in which any model takes a single sample
    draws = partial(seed_draws, problem.seed, host=problem.task.host_draws)
    with forked(host=problem.task.host_draws):
        trainer = BlockTrainer(algorithm, gradient, data, draws)
        return trainer.eager(Work(0, clients, plan), broadcast, ClientStates())


def _still(params: Params, _batch: Batch) -> Gradients:
    """A gradient of zeros and a loss of 1, for parameters that stand for a model's."""
    return Gradients(tree.zeros_like(params), {}, {"loss": torch.ones(())})
