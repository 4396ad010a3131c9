"""What an algorithm is: a value of pure functions, which any runtime can run.

An algorithm names no model, no data and no runtime. A runtime gives the client's ``step`` the
gradient of the loss, eager or under ``torch.func.vmap``; everything else that passes between the
functions is a tree of tensors (`raydl.core.tree`), which is all that a checkpoint must hold.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from torch import Tensor

from raydl.core.exchange import Hook
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.tree import Params, Tree


class Plan(NamedTuple):
    """How long a client trains in a round: some local steps, or else some epochs.

    Attributes:
        batch_size: samples of a minibatch (B); None takes all of the client's at once.
        epochs: passes over the client's samples (E), each in a new order; the last minibatch of a
            pass may be smaller.
        drop_last: whether a last minibatch that is smaller is left out, unless it is the only one.
        steps: minibatches (J), drawn from one order after another; where given, it counts instead
            of ``epochs``.
        first: steps that the client took in former rounds: it goes on in its order where it
            stopped, so that nothing depends on how its steps are cut into rounds. None begins a
            new order in every round. Needs ``steps``.
        exchanges: how often the clients of a round meet the server: each time they train for as
            long as said here, and the server makes a step.
    """

    batch_size: int | None
    epochs: int = 1
    steps: int | None = None
    first: int | None = None
    exchanges: int = 1
    drop_last: bool = False

    def batch(self, samples: int) -> int:
        """The size of a client's full minibatch: never more than its samples."""
        return samples if self.batch_size is None else min(self.batch_size, samples)

    def local_steps(self, samples: int) -> int:
        """The minibatches that a client with so many samples takes."""
        if self.steps is not None:
            return self.steps
        return self.epochs * -(-self.taken(samples) // self.batch(samples))

    def taken(self, samples: int) -> int:
        """The samples of a pass over so many: all, or those of its full minibatches."""
        return samples - samples % self.batch(samples) if self.drop_last else samples

    def trained(self, samples: int) -> int:
        """The samples that a client with so many trains on, each as often as it does."""
        if self.steps is None:  # the last minibatch of a pass may be smaller
            return self.epochs * self.taken(samples)
        return self.steps * self.batch(samples)

    def sizes(self, samples: int) -> set[int]:
        """The sizes of the minibatches of a client with so many samples."""
        batch, rest = self.batch(samples), samples % self.batch(samples)
        smaller = self.steps is None and rest and not self.drop_last
        return {batch, rest} if smaller else {batch}


class Work(NamedTuple):
    """What a runtime is asked for: the local training of these clients in this round.

    Where rounds have several exchanges, each of them counts as a round here. Updates that are stale
    count for less, if ``discount`` is below 1.
    """

    round: int
    clients: tuple[int, ...]
    plan: Plan
    discount: float = 1.0

    def seed_path(self, client: int, step: int) -> tuple[int, int] | None:
        """What the draws of a client's step are folded from; None if they only go on.

        That is the round, or where the plan has a ``first`` step the number of the step itself.
        """
        if self.plan.first is not None:
            return self.plan.first + step, client
        return self.turn(client) if step == 0 else None

    def turn(self, client: int) -> tuple[int, int]:
        """What the draws before and after a client's steps are folded from."""
        return self.round if self.plan.first is None else self.plan.first, client

    def blocks(self, size: int) -> Iterator["Work"]:
        """Cuts the cohort into blocks of ``size`` consecutive clients.

        A block is the unit of scheduling, batching, reduction and retry. Its size must not depend
        on the workers: then neither does the result.
        """
        for start in range(0, len(self.clients), size):
            yield self._replace(clients=self.clients[start : start + size])


class Update(NamedTuple):
    """What one client sent, and how many samples stand behind it."""

    message: Tree
    samples: int
    client: int


class Client(NamedTuple):
    """One client's local training, in three parts; all pure, ``step`` also safe under vmap.

    Attributes:
        init: (broadcast, kept) -> local, the state that the local steps pass on. Here and in
            ``start`` and ``final`` torch's global generators are seeded for the client and round.
        step: (gradient, local, batch) -> (local, metrics), one minibatch.
        final: (broadcast, local) -> (message, kept): what is sent, and what the client keeps for
            the next round that it takes part in (``{}`` for most).
        start: broadcast -> kept, for a client that takes part for the first time; of the structure,
            shapes and types that ``final`` gives.
        view: (broadcast, client) -> what this client receives of it, and ``init``, ``final`` and
            ``start`` are given; None if that is all of it.
    """

    init: Callable[[Tree, Tree], Tree]
    step: Callable[[Gradient, Tree, Batch], tuple[Tree, Metrics]]
    final: Callable[[Tree, Tree], tuple[Tree, Tree]]
    start: Callable[[Tree], Tree] = lambda broadcast: {}
    view: Callable[[Tree, int], Tree] | None = None

    def received(self, broadcast: Tree, client: int) -> Tree:
        """What a client receives of the broadcast."""
        return broadcast if self.view is None else self.view(broadcast, client)


class Reduce(NamedTuple):
    """How updates become one value: a monoid that folds updates and merges what was folded.

    ``add`` and ``merge`` may write into their first argument, which they are handed for good, but
    neither into their second nor keep it: it may lie in memory that is shared.

    Attributes:
        zero: what no update gives.
        add: (accumulator, update) -> accumulator.
        merge: (accumulator, accumulator of later updates) -> accumulator.
        result: accumulator -> the one value.
        stacked: (messages [clients, ...], samples [clients]) -> accumulator, up to rounding what
            ``add`` gives one by one; for a rule that can do it faster, None for others.
        additive: whether merging is nothing but adding leaf to leaf, so that an all-reduce can do
            it.
    """

    zero: Callable[[], Tree]
    add: Callable[[Tree, Update], Tree]
    merge: Callable[[Tree, Tree], Tree]
    result: Callable[[Tree], Tree]
    stacked: Callable[[Tree, Tensor], Tree] | None = None
    additive: bool = False


class Algorithm(NamedTuple):
    """A round with a server: broadcast, local training, reduction, server step.

    Attributes:
        init: parameters -> the server's state.
        params: state -> the parameters to evaluate and to keep.
        plan: state -> how long the clients of the coming round train.
        broadcast: state -> what every client of the cohort receives.
        client: the local training.
        reduce: how the cohort's updates become one.
        server: (state, reduced) -> (state, metrics). Torch's global generators are seeded for the
            round, as they are for ``broadcast``.
        hook: for an algorithm whose only client is a group of processes that share each of its
            minibatches: what is done to the gradients that they exchange. A runtime without such
            a group trains the client in one process.
        discount: (message, factor) -> the message of an update that is stale, and therefore is to
            count for that fraction; None if there is none.
        elementwise: whether the reduction and the server treat every entry of the parameters by
            itself, so that servers that each hold a part of them can make the step together.
    """

    init: Callable[[Params], Tree]
    params: Callable[[Tree], Params]
    plan: Callable[[Tree], Plan]
    broadcast: Callable[[Tree], Tree]
    client: Client
    reduce: Reduce
    server: Callable[[Tree, Tree], tuple[Tree, Metrics]]
    hook: Hook | None = None
    discount: Callable[[Tree, float], Tree] | None = None
    elementwise: bool = False


class Budget(NamedTuple):
    """How long a run is to be, as far as that is known before it begins.

    Attributes:
        rounds: at most; None if the samples alone decide.
        samples: that each client of a cohort trains on over the whole run; None if the rounds
            alone decide.
        epoch: samples of a client, if the training set falls to a cohort; None if that is open.
        updates: that make a step of the server, and are what is meant by a cohort here; None if
            those are one of each client that takes part.
    """

    rounds: int | None = None
    samples: float | None = None
    epoch: float | None = None
    updates: int | None = None


OPEN = Budget()  # of a run that ends when it is told to


class AlgorithmSpec(Protocol):
    """The hyperparameters of an algorithm: a frozen dataclass that builds the value."""

    def build(self, budget: Budget) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a length."""
        ...
