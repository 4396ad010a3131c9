"""The runtime under a virtual clock: any algorithm, synchronous or not, in one process.

A round is a step of the server. Whoever may begin begins from its broadcast; then virtual time goes
on until enough updates have arrived, which are reduced. What a worker trains does not depend on
when it does so: its block is trained when the update arrives, from the broadcast it began from. So
hundreds of workers need one process, and a run is the same however long its steps really take. The
server's versions are kept while updates that began from them are on their way, each once.

With a barrier (`Synchronous`) the updates of a step are reduced in the order of the cohort, as
``sequential`` does. Otherwise they are reduced in the order of arrival, each discounted by its
staleness, and a worker goes through its samples in its own order, whatever the server's steps:
an update that is lost or thrown away was never trained, and its minibatches are drawn again.
"""

from collections.abc import Callable, Iterator
from itertools import chain, groupby
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Plan, Work
from raydl.core.tree import Tree
from raydl.runtimes.asynchrony.clock import Clock, Replay, Workload
from raydl.runtimes.asynchrony.consistency import Consistency
from raydl.runtimes.asynchrony.trace import Arrival, read_trace
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import CohortResult, RuntimeState, merge
from raydl.runtimes.worker.block import BlockResult


def replay_clock(uri: str, consistency: Consistency, workers: int) -> Replay:
    """The clock that repeats what a server with such a consistency took.

    Args:
        uri: of a trace, or of a run's folder.
        consistency: of the server.
        workers: number of workers that there were.

    Raises:
        SpecError: if there is no trace, or one that cannot have happened.
    """
    trace = read_trace(uri)
    if consistency.barrier:  # what came late was not taken
        trace = [each for each in trace if each.version == each.applied]
    return Replay(trace, workers)


class _Version(NamedTuple):
    """What the server sent out in one of its steps."""

    broadcast: Tree
    plan: Plan


class VirtualTimeRuntime(LocalRuntime):
    """Runs a problem in the order of a clock.

    Args:
        problem: problem that is to be learned.
        clock: tells whose updates arrive for each step of the server.
        consistency: what becomes of them.
        threads: torch's threads.
        device: where the clients train.

    Attributes:
        trace: the arrivals since the runtime was opened.
    """

    def __init__(
        self,
        problem: Problem,
        clock: Clock,
        consistency: Consistency,
        threads: int = 1,
        device: str = "cpu",
    ) -> None:
        super().__init__(problem, threads=threads, device=device)
        self._clock, self._consistency = clock, consistency
        self._versions: dict[int, _Version] = {}
        self._taken = [_NONE] * len(problem.partition)  # local steps, by worker
        self._bytes_up: int | None = None
        self.trace: list[Arrival] = []

    @property
    def now(self) -> float:
        """Seconds on the clock."""
        return self._clock.now

    def wait(self, until: float) -> None:
        """Lets nobody of the next cohort begin before a second."""
        self._clock.wait(until)

    def server_steps(self, work: Work) -> range:
        """The steps of the server that the round has."""
        return self._clock.steps(work.step, super().server_steps(work))

    def map_reduce(self, broadcast: Tree, work: Work) -> CohortResult:
        """Lets time pass until enough updates have arrived, and reduces them.

        Beside the columns of `BlockResult`, the clients have what a trace is made of, see
        `raydl.runtimes.asynchrony.trace.traced`; their ``seconds`` are virtual, since they began.
        """
        self._versions[work.step] = _Version(broadcast, work.plan)
        again = work.plan.start_step is not None
        step = self._clock.advance(
            work.step, work.clients, self._load(broadcast, work), again=again
        )
        self.trace += step.arrivals
        arrivals: tuple[Arrival, ...] = step.arrivals
        if self._consistency.barrier:
            places = {client: place for place, client in enumerate(work.clients)}
            arrivals = tuple(sorted(arrivals, key=lambda each: places[each.worker]))
            cut = self._in_blocks(arrivals, work)
            blocks = (self._train_block(block, broadcast) for block in cut)
            reduced = merge(self._problem.algorithm.reduce, blocks, self._problem.fan_in)
        else:
            blocks = (self._train_stale(arrival) for arrival in arrivals)
            reduced = merge(self._problem.algorithm.reduce, blocks)
        told = {
            "seconds": [each.seconds for each in arrivals],
            "begun": [each.version for each in arrivals],
            "staleness": [each.applied - each.version for each in arrivals],
            "arrived": [each.arrived for each in arrivals],
            "cut": [nan if each.steps is None else each.steps for each in arrivals],
        }
        columns = {name: torch.tensor(each, dtype=torch.float64) for name, each in told.items()}
        needed = self._clock.in_use(self._versions)
        self._versions = {each: self._versions[each] for each in sorted(needed)}
        return reduced._replace(
            clients=reduced.clients | columns, traffic=step.traffic, seconds=step.seconds
        )

    def state(self) -> RuntimeState:
        """What every client keeps by now, and what is on its way."""
        versions = {
            str(number): {"broadcast": each.broadcast, "plan": _plan_tensor(each.plan)}
            for number, each in self._versions.items()
        }
        own = {
            "clock": self._clock.state(),
            "versions": versions,
            "taken": torch.tensor(self._taken),
        }
        return RuntimeState(super().state().clients, own)

    def restore(self, state: RuntimeState) -> None:
        """Takes up what the clients of an interrupted run kept, and what was on its way."""
        super().restore(state)
        if not state.own:
            return
        self._clock.restore(state.own["clock"])
        self._taken = state.own["taken"].tolist()
        self._versions = {
            int(number): _Version(each["broadcast"], _plan(each["plan"]))
            for number, each in state.own["versions"].items()
        }

    def _load(self, broadcast: Tree, work: Work) -> Callable[[int], Workload]:
        """What the work of each client weighs."""
        client, up = self._problem.algorithm.client, self._message_bytes(broadcast, work)
        whole = tree.nbytes(broadcast)

        def load(number: int) -> Workload:
            steps = work.plan.local_steps(int(self._problem.partition.sizes[number]))
            down = whole if client.view is None else tree.nbytes(client.view(broadcast, number))
            return Workload(steps, down, up)

        return load

    def _message_bytes(self, broadcast: Tree, work: Work) -> int:
        """The bytes of a message, as one minibatch of one client shows: all are of one shape."""
        if self._bytes_up is None:
            probe = work._replace(clients=work.clients[:1], plan=work.plan._replace(steps=1))
            states = self._table.gather(probe.clients)
            result = self._worker.train_block(probe, broadcast, states)
            self._bytes_up = int(result.clients["bytes_up"])
        return self._bytes_up

    def _in_blocks(self, arrivals: tuple[Arrival, ...], work: Work) -> Iterator[Work]:
        """Blocks of clients that stand beside each other and took as many steps."""
        alike = groupby(arrivals, lambda arrival: self._cut(work.plan, arrival))
        return chain.from_iterable(
            self._problem.blocks(Work(work.step, tuple(each.worker for each in group), plan))
            for plan, group in alike
        )

    def _train_stale(self, arrival: Arrival) -> BlockResult:
        """An update that began from a version of its own, and counts by its staleness."""
        worker = arrival.worker
        broadcast, plan = self._versions[arrival.version]
        plan = self._cut(plan, arrival)
        if plan.start_step is not None and plan.steps is not None:
            first = plan.start_step if self._taken[worker] == _NONE else self._taken[worker]
            first = first if arrival.first is None else arrival.first
            self._taken[worker] = first + plan.steps
            plan = plan._replace(start_step=first)
        factor = self._consistency.discount_factor(arrival.applied - arrival.version)
        return self._train_block(Work(arrival.version, (worker,), plan, factor), broadcast)

    def _cut(self, plan: Plan, arrival: Arrival) -> Plan:
        """The plan of a worker that took so many steps of it, or all.

        Of a plan in epochs too these are full minibatches, from one pass into the next; and all of
        the phases that come before, with one step at the least.
        """
        if arrival.steps is None:
            return plan
        samples = int(self._problem.partition.sizes[arrival.worker])
        earlier = sum(each.local_steps(samples) for each in plan.before)
        return plan._replace(steps=max(1, arrival.steps - earlier))


_NONE = -1  # in a tensor, of a number that is not given


def _plan_tensor(plan: Plan) -> Tensor:
    """A row for each phase, int64 [phases, 6]."""
    rows = ([_NONE if each is None else int(each) for each in phase[:6]] for phase in plan.phases)
    return torch.tensor([*rows])


def _plan(tensor: Tensor) -> Plan:
    *before, main = (_phase(row) for row in tensor.reshape(-1, 6).tolist())
    return main._replace(before=tuple(before))


def _phase(row: list[int]) -> Plan:
    batch_size, epochs, steps, first, server_steps, drop_last = (
        None if each == _NONE else each for each in row
    )
    assert epochs is not None
    assert server_steps is not None
    return Plan(batch_size, epochs, steps, first, server_steps, bool(drop_last))
