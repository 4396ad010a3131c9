"""The runtime under a virtual clock: any algorithm, synchronous or not, in one process.

A round is a step of the server. Whoever may begin begins from its broadcast; then virtual time goes
on until enough updates have arrived, which are reduced. What a worker trains does not depend on
when it does so: its block is trained when the update arrives, from the broadcast it began from. So
hundreds of workers need one process, and a run is the same however long its steps really take. The
server's versions are kept while updates that began from them are on their way, each once.

With a barrier (`Synchronous`) the updates of a step are folded in the order of the cohort, as
``sequential`` does. Otherwise they are folded in the order of arrival, each discounted by its
staleness, and a worker goes through its samples in its own order, whatever the server's steps:
an update that is lost or thrown away was never trained, and its minibatches are drawn again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import chain, groupby
from math import nan
from operator import attrgetter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Plan, Work
from raydl.core.errors import SpecError
from raydl.core.tree import Tree
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.clock import Clock, Load, Replay
from raydl.runtimes.conditions import Conditions
from raydl.runtimes.consistency import Consistency
from raydl.runtimes.inprocess import InProcess
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Reduced, Runtime, merge
from raydl.runtimes.specs import OneProcess
from raydl.runtimes.timeline import Timeline
from raydl.runtimes.trace import Arrival, read_trace


@dataclass(frozen=True)
class Simulated(Conditions, OneProcess):
    """Workers under a virtual clock, each of its own speed, in one process without Ray.

    Args:
        replay: path or URI of a trace, or of the folder of a run with this spec, whose arrivals
            are taken instead of drawn ones.
    """

    replay: str | None = None

    batched = False

    def __post_init__(self) -> None:
        OneProcess.__post_init__(self)
        Conditions.__post_init__(self)

    def arithmetic(self) -> dict[str, Any]:
        """What of this the numbers depend on: all of it."""
        named = {name: getattr(self, name) for name in ("consistency", "speed")}
        return asdict(self) | named | {"batched": self.batched}

    def updates(self, cohort: int, population: int) -> int:
        """As many as the consistency asks for.

        Raises:
            SpecError: if so many never come, or if a bound is to hold between clients of whom
                only some take part.
        """
        if self.consistency.bound is not None and cohort < population:
            raise SpecError(
                f"{type(self.consistency).__name__} bounds how far workers are ahead of the "
                f"slowest, but of {population} clients only {cohort} take part at a time; choose "
                "an algorithm with workers, or --participation.fraction 1"
            )
        return self.consistency.enough(cohort)

    @contextmanager
    def open(self, problem: Problem) -> Iterator[Runtime]:
        """The runtime for a problem.

        Raises:
            SpecError: if conditions and problem do not fit each other.
        """
        workers = len(problem.partition)
        if problem.algorithm.discount is None and self.consistency.weight(1) != 1:
            raise SpecError(
                "runtime.consistency.discount is given, but the algorithm's messages cannot be "
                "made to count for less; set it to 0, or choose an algorithm such as FedAsync"
            )
        self.speed.check(workers)
        clock: Clock = Timeline(workers, problem.seed, self)
        if self.replay is not None:
            clock = replayed(self.replay, self.consistency, workers)
        yield VirtualTime(problem, clock, self.consistency, self.threads, self.device)


def replayed(uri: str, consistency: Consistency, workers: int) -> Replay:
    """The clock that repeats what a server with such a consistency took.

    Args:
        uri: of a trace, or of a run's folder.
        consistency: of the server.
        workers: how many there were.

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


class VirtualTime(InProcess):
    """Runs a problem in the order of a clock.

    Args:
        problem: what is to be learned.
        clock: tells whose updates arrive for each step of the server.
        consistency: what becomes of them.
        threads: of torch.
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
        super().__init__(problem, threads, device=device)
        self._clock, self._consistency = clock, consistency
        self._versions: dict[int, _Version] = {}
        self._taken = [_NONE] * len(problem.partition)  # local steps, by worker
        self._bytes_up: int | None = None
        self.trace: list[Arrival] = []

    def exchanges(self, work: Work) -> range:
        """The steps of the server that the round has."""
        return self._clock.steps(work.round, super().exchanges(work))

    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Lets time pass until enough updates have arrived, and reduces them.

        Beside the columns of `Folded`, the clients have what a trace is made of, see
        `raydl.runtimes.trace.traced`; their ``seconds`` are virtual, since they began.
        """
        self._versions[work.round] = _Version(broadcast, work.plan)
        again = work.plan.first is not None
        step = self._clock.advance(work.round, work.clients, self._load(broadcast, work), again)
        self.trace += step.arrivals
        arrivals: tuple[Arrival, ...] = step.arrivals
        if self._consistency.barrier:
            places = {client: place for place, client in enumerate(work.clients)}
            arrivals = tuple(sorted(arrivals, key=lambda each: places[each.worker]))
            blocks = self._in_blocks(arrivals, work)
            folded = (self._fold(block, broadcast) for block in blocks)
            reduced = merge(self._problem.algorithm.reduce, folded, self._problem.fan_in)
        else:
            folded = (self._discounted(arrival) for arrival in arrivals)
            reduced = merge(self._problem.algorithm.reduce, folded)
        told = {
            "seconds": [each.seconds for each in arrivals],
            "begun": [each.version for each in arrivals],
            "staleness": [each.applied - each.version for each in arrivals],
            "arrived": [each.arrived for each in arrivals],
            "cut": [nan if each.steps is None else each.steps for each in arrivals],
        }
        columns = {name: torch.tensor(each, dtype=torch.float64) for name, each in told.items()}
        needed = self._clock.needed(self._versions)
        self._versions = {each: self._versions[each] for each in sorted(needed)}
        return reduced._replace(
            clients=reduced.clients | columns, traffic=step.traffic, seconds=step.seconds
        )

    def kept(self) -> Kept:
        """What every client keeps by now, and behind them what is on its way."""
        versions = {
            str(number): {"broadcast": each.broadcast, "plan": _plan_tensor(each.plan)}
            for number, each in self._versions.items()
        }
        time = {
            "clock": self._clock.state(),
            "versions": versions,
            "taken": torch.tensor(self._taken),
        }
        return super().kept() | {len(self._problem.partition): time}

    def restore(self, kept: Kept) -> None:
        """Takes up what the clients of an interrupted run kept, and what was on its way."""
        workers = len(self._problem.partition)
        super().restore({client: keep for client, keep in kept.items() if client < workers})
        if workers not in kept:
            return
        time = kept[workers]
        self._clock.restore(time["clock"])
        self._taken = time["taken"].tolist()
        self._versions = {
            int(number): _Version(each["broadcast"], _plan(each["plan"]))
            for number, each in time["versions"].items()
        }

    def _load(self, broadcast: Tree, work: Work) -> Callable[[int], Load]:
        """What the work of each client weighs."""
        client, up = self._problem.algorithm.client, self._message_bytes(broadcast, work)
        whole = tree.nbytes(broadcast)

        def load(number: int) -> Load:
            steps = work.plan.local_steps(int(self._problem.partition.sizes[number]))
            down = whole if client.view is None else tree.nbytes(client.view(broadcast, number))
            return Load(steps, down, up)

        return load

    def _message_bytes(self, broadcast: Tree, work: Work) -> int:
        """The bytes of a message, as one minibatch of one client shows: all are of one shape."""
        if self._bytes_up is None:
            probe = work._replace(clients=work.clients[:1], plan=work.plan._replace(steps=1))
            folded = self._worker.fold(probe, broadcast, self._kept)
            self._bytes_up = int(folded.clients["bytes_up"])
        return self._bytes_up

    def _in_blocks(self, arrivals: tuple[Arrival, ...], work: Work) -> Iterator[Work]:
        """Blocks of clients that stand beside each other and took as many steps."""
        alike = groupby(arrivals, attrgetter("steps"))
        return chain.from_iterable(
            self._problem.blocks(
                Work(work.round, tuple(each.worker for each in group), _cut(work.plan, steps))
            )
            for steps, group in alike
        )

    def _discounted(self, arrival: Arrival) -> Folded:
        """An update that began from a version of its own, and counts by its staleness."""
        worker = arrival.worker
        broadcast, plan = self._versions[arrival.version]
        plan = _cut(plan, arrival.steps)
        if plan.first is not None and plan.steps is not None:
            first = plan.first if self._taken[worker] == _NONE else self._taken[worker]
            first = first if arrival.first is None else arrival.first
            self._taken[worker] = first + plan.steps
            plan = plan._replace(first=first)
        factor = self._consistency.weight(arrival.applied - arrival.version)
        return self._fold(Work(arrival.version, (worker,), plan, factor), broadcast)


_NONE = -1  # in a tensor, of a number that is not given


def _cut(plan: Plan, steps: int | None) -> Plan:
    """The plan of a worker that takes so many steps of it; None for all.

    Of a plan in epochs too these are full minibatches, from one pass into the next.
    """
    return plan if steps is None else plan._replace(steps=steps)


def _plan_tensor(plan: Plan) -> Tensor:
    return torch.tensor([_NONE if each is None else each for each in plan])


def _plan(tensor: Tensor) -> Plan:
    return Plan(*(None if each == _NONE else each for each in tensor.tolist()))
