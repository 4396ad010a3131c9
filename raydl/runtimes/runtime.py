"""What every runtime does: train a cohort, score a model, and say what it must have to go on."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from time import perf_counter
from typing import NamedTuple

import torch
from torch import Tensor

from raydl.communication.cost import Communication
from raydl.core import tree
from raydl.core.algorithm import Algorithm, Reduce, Work
from raydl.core.errors import SpecError
from raydl.core.grad import Metrics
from raydl.core.tree import Params, Tree
from raydl.runtimes.worker.block import BlockResult, join_columns
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.evaluation import Score


class ClusterError(RuntimeError):
    """The cluster cannot go on with a run, which can be resumed."""


class Traffic(NamedTuple):
    """Messages and bytes sent, where it was not one broadcast to and one message from each client.

    Attributes:
        messages: number of them, down and up.
        bytes_down: bytes of the broadcasts.
        bytes_up: bytes of the messages to the server.
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
        """Traffic of an exchange."""
        return cls(exchange.messages, exchange.bytes_down, exchange.bytes_up)


class CohortResult(NamedTuple):
    """Result of a cohort.

    Attributes:
        accumulator: accumulators of the blocks, merged in block order.
        clients: columns of `BlockResult`, over the cohort.
        merge_seconds: seconds that merging the blocks took.
        traffic: what was sent; None for a star, whose clients each received the broadcast and
            sent their message.
        seconds: virtual time that the cohort took, of a runtime that keeps such.
    """

    accumulator: Tree
    clients: dict[str, Tensor]
    merge_seconds: float
    traffic: Traffic | None = None
    seconds: float | None = None


class RoundResult(NamedTuple):
    """Result of a round.

    Attributes:
        state: state of the server, after it.
        clients: columns of `BlockResult`, over the updates of all the round's server steps.
        traffic: what was sent.
        seconds: time that it would have taken with a machine for each client: set-up + slowest
            client + aggregation, of every server step.
        metrics: what the server reports last.
    """

    state: Tree
    clients: dict[str, Tensor]
    traffic: Traffic
    seconds: float
    metrics: Metrics


class RuntimeState(NamedTuple):
    """All that a runtime must have to go on, besides the server's state.

    Attributes:
        clients: client state, of the clients that keep any.
        own: a tree of the runtime's own, such as how far each worker is in its samples; ``{}`` of
            most.
    """

    clients: ClientStates = ClientStates()
    own: Tree = {}  # noqa: RUF012


class Runtime(ABC):
    """A place where an algorithm runs.

    There are two kinds: one trains cohorts, and whoever drives it makes the server's step
    (`CohortRuntime`); the other holds the server itself (`ServerRuntime`).

    Attributes:
        is_leader: whether this process writes the run down: where several do the run together, one.
        seed: the run's, which the server's draws are folded from.
    """

    is_leader: bool = True
    seed: int = 0

    def all_reduce_max(self, number: int) -> int:
        """The largest of the numbers that the processes of the run give, the same in each."""
        return number

    @property
    def now(self) -> float | None:
        """Seconds of virtual time since the run began; None where none is kept."""
        return None

    def wait(self, until: float) -> None:  # noqa: B027
        """Lets nobody of the next cohort begin before a second of virtual time, if such is kept."""

    def survey(self, params: Params, work: Work) -> dict[str, Tensor]:
        """Asks clients for the loss of the parameters on their own samples.

        Args:
            params: the server's.
            work: whom, and on which samples: the first minibatch that its plan draws for each.

        Returns:
            Columns ``client``, ``samples``, ``loss`` (the mean over these) and ``seconds``,
            float64 [clients], in the order of the work.

        Raises:
            SpecError: if clients cannot be asked here.
        """
        raise SpecError(
            f"{type(self).__name__} cannot ask clients for their losses before a round; choose a "
            "runtime that can, sequential, batched or actors"
        )

    @abstractmethod
    def evaluate(self, params: Params, split: str) -> Callable[[], Score]:
        """Starts to score the model on a split; the call that is returned waits for the score."""

    @abstractmethod
    def state(self) -> RuntimeState:
        """All that the runtime must have to go on, for a checkpoint."""

    @abstractmethod
    def restore(self, state: RuntimeState) -> None:
        """Takes up what an interrupted run had; nothing in a new one."""

    def report(self, run: str, row: Mapping[str, float | None]) -> None:  # noqa: B027
        """Tells the cluster's monitoring of a round that is done; where there is none, nobody.

        Args:
            run: name of the run.
            row: the round's, with the columns of `raydl.run_folder.record.COLUMNS`.
        """

    def close(self) -> None:  # noqa: B027
        """Gives back what the runtime holds."""


class CohortRuntime(Runtime):
    """A runtime that trains cohorts; the server's step is made by whoever drives it."""

    @abstractmethod
    def map_reduce(self, broadcast: Tree, work: Work) -> CohortResult:
        """Trains the cohort from the broadcast and reduces its updates.

        Raises:
            ClusterError: if workers are lost for good.
        """

    def server_steps(self, work: Work) -> range:
        """Numbers of the round's server steps, counted over the run."""
        each = work.plan.server_steps
        return range(work.step * each, (work.step + 1) * each)


class ServerRuntime(Runtime):
    """A runtime that holds the server, which steps as updates come."""

    @abstractmethod
    def advance(self, algorithm: Algorithm, state: Tree, work: Work) -> RoundResult:
        """Does a whole round.

        Raises:
            ClusterError: if workers, or the server, are lost for good.
        """


_COLUMNS = ("client", "samples", "steps", "bytes_up", "seconds", "finite")
_NOBODY = torch.empty(0, dtype=torch.float64)


def merge(reduce: Reduce, blocks: Iterable[BlockResult], fan_in: int = 1) -> CohortResult:
    """Merges blocks in the order in which they come, so many at a time."""
    accumulator, columns, seconds = reduce.zero(), [], 0.0
    blocks = iter(blocks)
    while group := list(islice(blocks, fan_in)):
        started = perf_counter()
        accumulator = reduce.merge(accumulator, merge_all(reduce, [b.accumulator for b in group]))
        seconds += perf_counter() - started
        columns += [block.clients for block in group]
    # Of nobody, there are no metrics.
    clients = join_columns(columns) if columns else dict.fromkeys(_COLUMNS, _NOBODY)
    return CohortResult(accumulator, clients, seconds)


def merge_all(reduce: Reduce, accumulators: Sequence[Tree]) -> Tree:
    """Merges several accumulators, of which none is written to; one alone is given as it is."""
    first, *others = accumulators
    accumulator = reduce.merge(reduce.zero(), first) if others else first
    for each in others:
        accumulator = reduce.merge(accumulator, each)
    return accumulator


def star_traffic(algorithm: Algorithm, broadcast: Tree, clients: dict[str, Tensor]) -> Traffic:
    """Traffic where every client receives the broadcast, or its view, and sends a message."""
    numbers = clients["client"].long().tolist()
    if algorithm.client.view is None:
        down = tree.nbytes(broadcast) * len(numbers)
    else:
        views = (algorithm.client.view(broadcast, client) for client in numbers)
        down = sum(map(tree.nbytes, views))
    return Traffic(2 * len(numbers), down, int(clients["bytes_up"].sum()))
