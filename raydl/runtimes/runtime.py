"""What every runtime does: map the local training over a cohort, and reduce what comes of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Reduce, Work
from raydl.core.cost import Communication
from raydl.core.grad import Metrics
from raydl.core.rng import forked, seed_draws
from raydl.core.tree import Params, Tree
from raydl.runtimes.block import Folded, Kept
from raydl.runtimes.evaluation import Score


class ClusterError(RuntimeError):
    """The cluster cannot go on with a run, which can be resumed."""


class KeptLostError(ClusterError):
    """What clients keep between rounds was lost: the run must go on from its checkpoint."""


class Traffic(NamedTuple):
    """What was sent, where it was not one broadcast to and one message from each client.

    Attributes:
        messages: down and up.
        bytes_down: of the broadcasts.
        bytes_up: of the messages to the server.
        lost: updates that were lost on their way, or with the server that had taken them.
        late: updates that were thrown away, because the step that they were for was made already.
    """

    messages: int
    bytes_down: int
    bytes_up: int
    lost: int = 0
    late: int = 0

    @classmethod
    def of(cls, exchange: Communication) -> "Traffic":
        """That of an exchange."""
        return cls(exchange.messages, exchange.bytes_down, exchange.bytes_up)


class Reduced(NamedTuple):
    """What came of a cohort.

    Attributes:
        accumulator: the blocks' accumulators, merged in block order.
        clients: the columns of `Folded`, over the cohort.
        merge_seconds: what merging the blocks took.
        traffic: what was sent; None for a star, whose clients each received the broadcast and
            sent their message.
        seconds: of virtual time that the cohort took, of a runtime that keeps such.
    """

    accumulator: Tree
    clients: dict[str, Tensor]
    merge_seconds: float
    traffic: Traffic | None = None
    seconds: float | None = None


class Advanced(NamedTuple):
    """What a round did.

    Attributes:
        state: the server's, after it.
        clients: the columns of `Folded`, over the updates of all the round's exchanges.
        traffic: what was sent.
        seconds: that it would have taken with a machine for each client: set-up + slowest client
            + aggregation, of every exchange.
        metrics: what the server reports last.
    """

    state: Tree
    clients: dict[str, Tensor]
    traffic: Traffic
    seconds: float
    metrics: Metrics


class Runtime(Protocol):
    """Where an algorithm runs.

    Attributes:
        leads: whether this process writes the run down: where several do the run together, one.
        seed: the run's, which the server's draws are folded from.
    """

    leads: bool = True
    seed: int = 0

    def agree(self, number: int) -> int:
        """The largest of the numbers that the processes of the run give, the same in each."""
        return number

    def advance(self, algorithm: Algorithm, state: Tree, work: Work) -> Advanced:
        """Does a round: all its exchanges between the cohort and the server, one by one."""
        done: list[Advanced] = []
        for number in self.exchanges(work):
            done.append(_exchange(self, algorithm, state, number, work.clients))
            state = done[-1].state
        return Advanced(
            state,
            {name: torch.cat([each.clients[name] for each in done]) for name in done[0].clients},
            Traffic(*map(sum, zip(*(each.traffic for each in done), strict=True))),
            sum(each.seconds for each in done),
            done[-1].metrics,
        )

    def exchanges(self, work: Work) -> range:
        """The numbers of the round's exchanges, counted over the run."""
        each = work.plan.exchanges
        return range(work.round * each, (work.round + 1) * each)

    def map_reduce(self, broadcast: Tree, work: Work) -> Reduced:
        """Trains the cohort from the broadcast and reduces its updates.

        Raises:
            ClusterError: if workers, or what their clients kept, are lost for good.
        """
        ...

    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Starts to score the model on a split; the call that is returned waits for the score."""
        ...

    def kept(self) -> Kept:
        """What every client keeps by now, for a checkpoint.

        Raises:
            KeptLostError: if some of it was lost.
        """
        ...

    def restore(self, kept: Kept) -> None:
        """Takes up what the clients of an interrupted run kept; nothing in a new one."""
        ...

    def report(self, run: str, row: Mapping[str, float | None]) -> None:
        """Tells the cluster's monitoring of a round that is done; where there is none, nobody.

        Args:
            run: its name.
            row: of the round, with the columns of `raydl.record.COLUMNS`.
        """

    def close(self) -> None:
        """Gives back the workers."""
        ...


_COLUMNS = ("client", "samples", "steps", "bytes_up", "seconds", "finite")
_NOBODY = torch.empty(0, dtype=torch.float64)


def merge(reduce: Reduce, blocks: Iterable[Folded], fan_in: int = 1) -> Reduced:
    """Merges blocks in the order in which they come, so many at a time."""
    accumulator, columns, seconds = reduce.zero(), [], 0.0
    blocks = iter(blocks)
    while group := list(islice(blocks, fan_in)):
        started = perf_counter()
        accumulator = reduce.merge(accumulator, joined(reduce, [b.accumulator for b in group]))
        seconds += perf_counter() - started
        columns += [block.clients for block in group]
    names = columns[0] if columns else _COLUMNS  # of nobody, there are no metrics
    clients = {name: torch.cat([_NOBODY, *(each[name] for each in columns)]) for name in names}
    return Reduced(accumulator, clients, seconds)


def joined(reduce: Reduce, accumulators: Sequence[Tree]) -> Tree:
    """One accumulator of several, of which none is written to; one alone as it is."""
    first, *others = accumulators
    accumulator = reduce.merge(reduce.zero(), first) if others else first
    for each in others:
        accumulator = reduce.merge(accumulator, each)
    return accumulator


def star(algorithm: Algorithm, broadcast: Tree, clients: dict[str, Tensor]) -> Traffic:
    """What is sent where every client receives the broadcast, or its view, and sends a message."""
    numbers = clients["client"].long().tolist()
    if algorithm.client.view is None:
        down = tree.nbytes(broadcast) * len(numbers)
    else:
        views = (algorithm.client.view(broadcast, client) for client in numbers)
        down = sum(map(tree.nbytes, views))
    return Traffic(2 * len(numbers), down, int(clients["bytes_up"].sum()))


def _exchange(
    runtime: Runtime, algorithm: Algorithm, state: Tree, number: int, clients: tuple[int, ...]
) -> Advanced:
    began = perf_counter()
    with forked():
        seed_draws(runtime.seed, number, "broadcast")
        broadcast = algorithm.broadcast(state)
    work = Work(number, clients, algorithm.plan(state))
    prepared = perf_counter()
    reduced = runtime.map_reduce(broadcast, work)
    returned = perf_counter()
    metrics: Metrics = {}
    if reduced.clients["finite"].any():  # of no updates there is nothing to make a step from
        with forked():
            seed_draws(runtime.seed, number, "server")
            state, metrics = algorithm.server(state, algorithm.reduce.result(reduced.accumulator))
    traffic = reduced.traffic or star(algorithm, broadcast, reduced.clients)
    seconds = reduced.seconds
    if seconds is None:
        slowest = float(reduced.clients["seconds"].max())
        own = (prepared - began) + reduced.merge_seconds + (perf_counter() - returned)
        seconds = slowest + own
    return Advanced(state, reduced.clients, traffic, seconds, metrics)
