"""One block of clients, trained and reduced to one accumulator: eagerly, or as one vmap."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Algorithm, LocalStep, Reduce, Update, Work
from raydl.core.errors import SpecError
from raydl.core.grad import Gradient
from raydl.core.tree import Tree
from raydl.data.batches import ClientData

ClientStates: TypeAlias = dict[int, Tree]  # what clients keep between rounds, by client
# Columns of clients that are no metrics.
COUNTS = frozenset(
    {
        *("client", "samples", "steps", "bytes_up", "seconds", "finite"),
        *("begun", "staleness", "arrived", "cut", "first"),
    }
)

Seeding: TypeAlias = Callable[..., None]  # seeds what is drawn for a path of numbers and words


class BlockResult(NamedTuple):
    """Result of a block.

    Attributes:
        accumulator: the block's finite updates, reduced in cohort order.
        states: what its clients keep, of those that keep anything.
        clients: columns over the block's clients, in cohort order, float64 [clients]: ``client``,
            ``samples`` and ``steps`` trained on, ``bytes_up``, ``seconds``, ``finite`` (1 or 0) and
            the mean of each metric over the samples trained on (``loss``). Runtimes that keep a
            time of their own add other `COUNTS`.
    """

    accumulator: Tree
    states: ClientStates
    clients: dict[str, Tensor]


class BlockTrainer(NamedTuple):
    """Local training of blocks of clients.

    Attributes:
        algorithm: whose clients they are.
        gradient: gradient of a minibatch: of one client, or of many under ``vmap``.
        data: samples of the clients.
        seed: seeds what is drawn for a path of numbers and words.
    """

    algorithm: Algorithm
    gradient: Gradient
    data: ClientData
    seed: Seeding

    def eager(self, work: Work, broadcast: Tree, states: Mapping[int, Tree]) -> BlockResult:
        """Trains the clients of a block one after the other."""
        accumulator, kept, rows = self.algorithm.reduce.zero(), {}, []
        for client in work.clients:
            started = perf_counter()
            received, turn = self.algorithm.client.receive(broadcast, client), work.turn(client)
            self.seed(*turn, "init")
            start = self._initial_state(received, states, client)
            local = self.algorithm.client.init(received, start)
            row = {"samples": 0.0, "steps": 0.0}
            sums: dict[str, Tensor] = {}
            over: dict[str, int] = {}
            for phase, step in self._phases(work):
                for number, batch in enumerate(self.data.batches(phase, client)):
                    if path := phase.seed_path(client, number):
                        self.seed(*path, "dropout")
                    local, metrics = step(self.gradient, local, batch)
                    size = len(batch.targets)
                    row["samples"] += size
                    row["steps"] += 1
                    for name, value in metrics.items():
                        sums[name] = sums.get(name, 0.0) + value * size
                        over[name] = over.get(name, 0) + size
            self.seed(*turn, "final")
            message, keep = self.algorithm.client.final(received, local)
            check_client_state(start, keep)
            row |= {name: float(total) / over[name] for name, total in sums.items()}
            row |= {"client": client, "bytes_up": tree.nbytes(message)}
            row["finite"] = float(tree.is_finite(message))
            if row["finite"]:
                update = Update(self._discount(message, work), self.data.samples(client), client)
                accumulator = self.algorithm.reduce.add(accumulator, update)
                if not tree.is_empty(keep):
                    kept[client] = keep
            row["seconds"] = perf_counter() - started
            rows.append(row)
        table = torch.tensor([list(row.values()) for row in rows], dtype=torch.float64)
        return BlockResult(accumulator, kept, dict(zip(rows[0], table.unbind(1), strict=True)))

    def vmapped(self, work: Work, broadcast: Tree, states: Mapping[int, Tree]) -> BlockResult:
        """Trains the clients of a block side by side, each step of all of them as one ``vmap``."""
        started = perf_counter()
        views = [self.algorithm.client.receive(broadcast, client) for client in work.clients]
        turn = work.turn(work.clients[0])
        self.seed(*turn, "init")
        starts = [
            self._initial_state(view, states, client)
            for view, client in zip(views, work.clients, strict=True)
        ]
        each = torch.arange(len(work.clients))
        shared = self.algorithm.client.view is None
        received = broadcast if shared else _stack(views)
        dims = (0, None if shared else 0, 0)
        for start in starts[1:]:
            check_client_state(starts[0], start)
        together = _stack(starts)
        local = _vmap(lambda _, view, start: self.algorithm.client.init(view, start), dims)(
            each, received, together
        )
        samples = torch.zeros(len(each), dtype=torch.float64)
        steps = torch.zeros_like(samples)
        sums: dict[str, Tensor] = {}
        over: dict[str, Tensor] = {}
        for phase, one in self._phases(work):
            step = _vmap(partial(one, self.gradient))
            for number, (batch, active) in enumerate(self.data.stacked(phase)):
                if path := phase.seed_path(work.clients[0], number):
                    self.seed(*path, "dropout")
                stepped, metrics = step(local, batch)
                local = stepped if active.all() else _where(active, stepped, local)
                assert batch.weights is not None
                sizes = batch.weights.sum(1).double().cpu()
                samples += sizes
                steps += active.cpu()
                for name, value in metrics.items():
                    sums[name] = sums.get(name, 0.0) + value.double().cpu() * sizes
                    over[name] = over.get(name, 0.0) + sizes
        self.seed(*turn, "final")
        final = _vmap(lambda _, view, local: self.algorithm.client.final(view, local), dims)
        messages, keeps = final(each, received, local)
        check_client_state(*(tree.map(lambda leaf: leaf[0], each) for each in (together, keeps)))

        finite = tree.are_finite(messages, len(each))
        own = torch.tensor([self.data.samples(client) for client in work.clients])
        sent = self._discount(messages, work)
        accumulator = _reduce(self.algorithm.reduce, sent, work.clients, own, finite)
        states_now = {
            client: tree.map(lambda leaf, at=position: leaf[at].clone(), keeps)
            for position, client in enumerate(work.clients)
            if finite[position] and not tree.is_empty(keeps)
        }
        columns = {name: total / over[name] for name, total in sums.items()} | {
            "client": torch.tensor(work.clients, dtype=torch.float64),
            "samples": samples,
            "steps": steps,
            "bytes_up": torch.full_like(samples, tree.nbytes(messages) / len(each)),
            "finite": finite.double(),
            "seconds": torch.full_like(samples, (perf_counter() - started) / len(each)),
        }
        return BlockResult(accumulator, states_now, columns)

    def _phases(self, work: Work) -> Iterator[tuple[Work, LocalStep]]:
        """The work and the step of each phase."""
        return zip(work.phases(), self.algorithm.client.steps, strict=True)

    def _initial_state(self, broadcast: Tree, states: Mapping[int, Tree], client: int) -> Tree:
        return (
            states[client] if client in states else self.algorithm.client.initial_state(broadcast)
        )

    def _discount(self, message: Tree, work: Work) -> Tree:
        """The message of an update, as much of it as counts."""
        if work.discount == 1 or self.algorithm.discount is None:
            return message
        return self.algorithm.discount(message, work.discount)


def check_client_state(start: Tree, keep: Tree) -> None:
    """Raises a SpecError unless what a client keeps has the structure that it began with."""
    if tree.is_empty(start) and tree.is_empty(keep):
        return
    was, now = tree.layout(start), tree.layout(keep)
    for path in was.keys() | now.keys():
        if was.get(path) != now.get(path):
            raise SpecError(
                f"what a client keeps must have one structure in all rounds, but {path} is "
                f"{_leaf_in_words(was.get(path))} at the start (client.initial_state), and "
                f"{_leaf_in_words(now.get(path))} after a round (client.final)"
            )


def _leaf_in_words(leaf: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "not there" if leaf is None else f"{leaf[1]} {list(leaf[0])}"


def _vmap(function: Callable[..., Any], dims: Any = 0) -> Callable[..., Any]:
    return torch.vmap(function, dims, randomness="different")


def _stack(values: Sequence[Tree]) -> Tree:
    return tree.map(lambda *leaves: torch.stack(leaves), *values)


def _reduce(
    reduce: Reduce, messages: Tree, clients: Sequence[int], samples: Tensor, finite: Tensor
) -> Tree:
    """The finite ones of the messages [clients, ...], reduced in order."""
    if reduce.stacked is not None:
        chosen = messages if finite.all() else tree.map(lambda leaf: leaf[finite], messages)
        return reduce.stacked(chosen, samples[finite]) if finite.any() else reduce.zero()
    accumulator = reduce.zero()
    for position in finite.nonzero().flatten().tolist():
        message = tree.map(lambda leaf, at=position: leaf[at], messages)
        update = Update(message, int(samples[position]), clients[position])
        accumulator = reduce.add(accumulator, update)
    return accumulator


def _where(active: Tensor, stepped: Tree, local: Tree) -> Tree:
    def choose(new: Tensor, old: Tensor) -> Tensor:
        return torch.where(active.view(-1, *(1,) * (new.dim() - 1)), new, old)

    return tree.map(choose, stepped, local)
