"""What an algorithm is: a value of pure functions, which any runtime can run.

An algorithm names no model, no data and no runtime. A runtime gives the client's ``step`` the
gradient of the loss, eager or under ``torch.func.vmap``; everything else that passes between the
functions is a tree of tensors (`raydl.core.tree`), which is all that a checkpoint must hold.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, TypeAlias

from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.grad import Batch, Gradient, Metrics
from raydl.core.gradient_sync import GradientSyncSpec
from raydl.core.spec import Spec
from raydl.core.tree import Params, Tree

# The trees that pass between the functions of an algorithm, by the part that each plays.
ServerState: TypeAlias = Tree  # what the server carries from round to round, and a checkpoint holds
Broadcast: TypeAlias = Tree  # what the server sends to every client of the cohort
ClientState: TypeAlias = Tree  # what a client keeps until it takes part again; {} for most
LocalState: TypeAlias = Tree  # what a client's local steps pass on within a round
Message: TypeAlias = Tree  # what a client sends to the server
Accumulator: TypeAlias = Tree  # what the messages are so far, on their way to one value
Reduced: TypeAlias = Tree  # the one value that the server's step is made of


class Plan(NamedTuple):
    """How long a client trains in a round: some local steps, or else some epochs.

    What is counted here of a client with so many samples is counted over all phases.

    Attributes:
        batch_size: samples of a minibatch (B); None takes all of the client's at once.
        epochs: passes over the client's samples (E), each in a new order; the last minibatch of a
            pass may be smaller.
        drop_last: whether a last minibatch that is smaller is left out, unless it is the only one.
        steps: minibatches (J), drawn from one order after another; where given, it counts instead
            of ``epochs``.
        start_step: steps that the client took in former rounds: it goes on in its order where it
            stopped, so that nothing depends on how its steps are cut into rounds. None begins a
            new order in every round. Needs ``steps``.
        server_steps: how often the clients of a round meet the server: each time they train for
            as long as the plan of the state of then says, and the server makes a step.
        before: phases that come before this one in a round, such as a pass over all samples at
            the parameters that were received; each is as long as its own plan says, and has a
            step of its own, see `Client.before`.
    """

    batch_size: int | None
    epochs: int = 1
    steps: int | None = None
    start_step: int | None = None
    server_steps: int = 1
    drop_last: bool = False
    before: tuple["Plan", ...] = ()

    @property
    def phases(self) -> tuple["Plan", ...]:
        """Every phase of a round, in turn; this plan's own is the last one."""
        return (*self.before, self._replace(before=()))

    def batch(self, samples: int) -> int:
        """The size of a client's full minibatch: never more than its samples."""
        return samples if self.batch_size is None else min(self.batch_size, samples)

    def local_steps(self, samples: int) -> int:
        """The minibatches that a client with so many samples takes."""
        earlier = sum(each.local_steps(samples) for each in self.before)
        if self.steps is not None:
            return earlier + self.steps
        return earlier + self.epochs * -(-self.pass_samples(samples) // self.batch(samples))

    def pass_samples(self, samples: int) -> int:
        """The samples of a pass over so many: all, or those of its full minibatches."""
        return samples - samples % self.batch(samples) if self.drop_last else samples

    def trained_samples(self, samples: int) -> int:
        """The samples that a client with so many trains on, each as often as it does."""
        earlier = sum(each.trained_samples(samples) for each in self.before)
        if self.steps is None:  # the last minibatch of a pass may be smaller
            return earlier + self.epochs * self.pass_samples(samples)
        return earlier + self.steps * self.batch(samples)

    def sizes(self, samples: int) -> set[int]:
        """The sizes of the minibatches of a client with so many samples."""
        batch, rest = self.batch(samples), samples % self.batch(samples)
        smaller = self.steps is None and rest and not self.drop_last
        own = {batch, rest} if smaller else {batch}
        return own.union(*(each.sizes(samples) for each in self.before))


class Work(NamedTuple):
    """Work that a runtime is asked for: the local training of some clients.

    Attributes:
        step: number of the server's step that it is for: that of the round, where rounds have one.
        clients: who trains.
        plan: how long.
        discount: factor on their updates, below 1 of those that are stale.
        phase: names a phase that comes before the main one, for what is drawn in it.
    """

    step: int
    clients: tuple[int, ...]
    plan: Plan
    discount: float = 1.0
    phase: tuple[int | str, ...] = ()

    def phases(self) -> Iterator["Work"]:
        """The work of each phase, in turn."""
        *before, main = self.plan.phases
        for number, plan in enumerate(before):
            yield self._replace(plan=plan, phase=("before", number))
        yield self._replace(plan=main)

    def seed_path(self, client: int, step: int) -> tuple[int | str, ...] | None:
        """What the draws of a client's step are folded from; None if they only go on.

        That is the server's step; where the plan has a ``start_step``, the number of the client's.
        """
        if self.plan.start_step is not None:
            return self.plan.start_step + step, client, *self.phase
        return (*self.turn(client), *self.phase) if step == 0 else None

    def turn(self, client: int) -> tuple[int, int]:
        """What the draws before and after a client's steps are folded from."""
        return self.step if self.plan.start_step is None else self.plan.start_step, client

    def blocks(self, size: int) -> Iterator["Work"]:
        """Cuts the cohort into blocks of ``size`` consecutive clients.

        A block is the unit of scheduling, batching, reduction and retry. Its size must not depend
        on the workers: then neither does the result.
        """
        for start in range(0, len(self.clients), size):
            yield self._replace(clients=self.clients[start : start + size])


class Update(NamedTuple):
    """What one client sent, and how many samples stand behind it."""

    message: Message
    samples: int
    client: int


LocalStep: TypeAlias = Callable[[Gradient, LocalState, Batch], tuple[LocalState, Metrics]]


class Client(NamedTuple):
    """One client's local training, in three parts; all pure and safe under vmap, but for ``view``.

    Attributes:
        init: (broadcast, client state) -> local, the state that the local steps pass on. Here and
            in ``initial_state`` and ``final`` torch's global generators are seeded for the client
            and the step of the server.
        step: (gradient, local, batch) -> (local, metrics), one minibatch. The metrics are means
            over it; a table has their means over the round.
        final: (broadcast, local) -> (message, client state): what is sent, and what the client
            keeps for the next round that it takes part in (``{}`` for most).
        initial_state: broadcast -> client state, of a client that takes part for the first time;
            of the structure, shapes and types that ``final`` gives.
        view: (broadcast, client) -> what this client receives of it, and ``init``, ``final`` and
            ``initial_state`` are given; None if that is all of it.
        before: the step of each phase that the algorithm's plans have before the main one.
    """

    init: Callable[[Broadcast, ClientState], LocalState]
    step: LocalStep
    final: Callable[[Broadcast, LocalState], tuple[Message, ClientState]]
    initial_state: Callable[[Broadcast], ClientState] = lambda broadcast: {}
    view: Callable[[Broadcast, int], Broadcast] | None = None
    before: tuple[LocalStep, ...] = ()

    @property
    def steps(self) -> tuple[LocalStep, ...]:
        """The step of each phase, in turn."""
        return (*self.before, self.step)

    def receive(self, broadcast: Broadcast, client: int) -> Broadcast:
        """What a client receives of the broadcast."""
        return broadcast if self.view is None else self.view(broadcast, client)


class Reduce(NamedTuple):
    """A reduction of updates to one value: a monoid that adds updates, and merges accumulators.

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

    zero: Callable[[], Accumulator]
    add: Callable[[Accumulator, Update], Accumulator]
    merge: Callable[[Accumulator, Accumulator], Accumulator]
    result: Callable[[Accumulator], Reduced]
    stacked: Callable[[Message, Tensor], Accumulator] | None = None
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
            round, as they are for ``broadcast``. Of servers that each hold a part of the
            parameters, those metrics are reported on which all agree.
        hook: for an algorithm whose only client is a group of processes that share each of its
            minibatches: what is done to the gradients that they exchange. A runtime without such
            a group trains the client in one process.
        discount: (message, factor) -> the message of an update that is stale, and therefore is to
            count for that fraction; None if there is none.
        elementwise: whether the reduction and the server treat every entry of the parameters by
            itself, so that servers that each hold a part of them can make the step together.
        lockstep: whether messages for one of a round's server steps are of another kind than those
            for the next, so that no rule may let clients run ahead.
    """

    init: Callable[[Params], ServerState]
    params: Callable[[ServerState], Params]
    plan: Callable[[ServerState], Plan]
    broadcast: Callable[[ServerState], Broadcast]
    client: Client
    reduce: Reduce
    server: Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]
    hook: GradientSyncSpec | None = None
    discount: Callable[[Message, float], Message] | None = None
    elementwise: bool = False
    lockstep: bool = False


class Scope(NamedTuple):
    """What an algorithm is built for: how long the run is to be, and who there is to train.

    Whatever is not known before the run begins is None.

    Attributes:
        rounds: at most; None if the samples alone decide.
        samples: that each client of a cohort trains on over the whole run; None if the rounds
            alone decide.
        epoch: samples of a client, if the training set falls to a cohort; None if that is open.
        updates: that make a step of the server, and are what is meant by a cohort here; None if
            those are one of each client that takes part.
        sizes: samples of each of the N clients, int64 [N].
        inclusion: finds out how probable it is for each of them to take part in a round (πₖ),
            float64 [N]; None also where that changes as the run goes on.
    """

    rounds: int | None = None
    samples: float | None = None
    epoch: float | None = None
    updates: int | None = None
    sizes: Tensor | None = None
    inclusion: Callable[[], Tensor] | None = None

    @property
    def clients(self) -> int | None:
        """Number of clients there are (N), of which a cohort takes part in a round."""
        return None if self.sizes is None else len(self.sizes)

    def known_clients(self, algorithm: str) -> int:
        """Number of clients there are (N), for an algorithm that cannot be built without it.

        Raises:
            SpecError: if it is not known.
        """
        return len(self.known_sizes(algorithm))

    def known_sizes(self, algorithm: str) -> Tensor:
        """Samples of each client, int64 [N], for an algorithm that cannot be built without them.

        Raises:
            SpecError: if they are not known.
        """
        if self.sizes is None:
            raise SpecError(
                f"{algorithm} needs the number of clients; raydl.run gives it, and whoever builds "
                "the algorithm by hand: build(Scope(sizes=...)), the samples of each client"
            )
        return self.sizes


UNKNOWN_SCOPE = Scope()  # of a run by whoever calls it, until they have enough


class AlgorithmSpec(Spec, ABC, field="algorithm"):
    """The hyperparameters of an algorithm: a frozen dataclass that builds the value.

    An own one need not be a subclass: an object with ``build(scope)`` is one.

    Attributes:
        usual_runtime: word of ``--runtime`` for a run that names none.
    """

    usual_runtime: ClassVar[str] = "actors"

    @property
    def workers(self) -> int | None:
        """Number of workers, who all take part in each round; None if there are clients."""
        return None

    @abstractmethod
    def build(self, scope: Scope) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope."""
