"""One block of clients, trained and reduced to one accumulator: eagerly, or as one vmap."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from math import nan
from time import perf_counter
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Algorithm, LocalStep, Reduce, Update, Work
from raydl.core.grad import Gradient
from raydl.core.tree import Tree
from raydl.data.batches import ClientData
from raydl.runtimes.worker.client_states import ClientStates, check_client_state

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


def join_columns(parts: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The columns of clients, part after part; NaN where a part has no such column."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: torch.cat([_column(part, name) for part in parts]) for name in names}


def _column(part: dict[str, Tensor], name: str) -> Tensor:
    return part[name] if name in part else torch.full_like(part["client"], nan)


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

    def eager(self, work: Work, broadcast: Tree, states: ClientStates) -> BlockResult:
        """Trains the clients of a block one after the other, from what those keep that have any."""
        accumulator, rows = self.algorithm.reduce.zero(), []
        kept: dict[int, Tree] = {}
        for client, place in zip(work.clients, states.find(work.clients).tolist(), strict=True):
            started = perf_counter()
            received, turn = self.algorithm.client.receive(broadcast, client), work.turn(client)
            self.seed(*turn, "init")
            begins = self.algorithm.client.initial_state
            start = begins(received) if place < 0 else states.row(place)
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
        columns = dict(zip(rows[0], table.unbind(1), strict=True))
        return BlockResult(accumulator, ClientStates.stack(kept), columns)

    def vmapped(self, work: Work, broadcast: Tree, states: ClientStates) -> BlockResult:
        """Trains the clients of a block side by side, each step of all of them as one ``vmap``."""
        started = perf_counter()
        each, shared = torch.arange(len(work.clients)), self.algorithm.client.view is None
        received = broadcast
        if not shared:
            views = (self.algorithm.client.receive(broadcast, client) for client in work.clients)
            received = tree.map(lambda *leaves: torch.stack(leaves), *views)
        dims = (0, None if shared else 0, 0)
        turn = work.turn(work.clients[0])
        self.seed(*turn, "init")
        together = self._starts(states.find(work.clients), states, received)
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
        kept = ClientStates()
        if not tree.is_empty(keeps):
            kept = ClientStates(torch.tensor(work.clients), keeps)
            kept = kept if finite.all() else kept.take(finite)
        columns = {name: total / over[name] for name, total in sums.items()} | {
            "client": torch.tensor(work.clients, dtype=torch.float64),
            "samples": samples,
            "steps": steps,
            "bytes_up": torch.full_like(samples, tree.nbytes(messages) / len(each)),
            "finite": finite.double(),
            "seconds": torch.full_like(samples, (perf_counter() - started) / len(each)),
        }
        return BlockResult(accumulator, kept, columns)

    def _phases(self, work: Work) -> Iterator[tuple[Work, LocalStep]]:
        """The work and the step of each phase."""
        return zip(work.phases(), self.algorithm.client.steps, strict=True)

    def _starts(self, rows: Tensor, states: ClientStates, received: Tree) -> Tree:
        """What each client of a block begins with, leaves [clients, ...].

        Args:
            rows: of each client in ``states``, -1 of those that take part for the first time.
            states: what the others keep.
            received: what all of them receive; leaves [clients, ...] where each has its own view.
        """
        client, new = self.algorithm.client, rows < 0
        if not new.any():
            return states.take(rows).columns
        own = received if client.view is None else tree.map(lambda leaf: leaf[new], received)
        begin = _vmap(
            lambda _, view: client.initial_state(view), (0, None if client.view is None else 0)
        )
        first = begin(rows[new], own)
        if new.all():
            return first
        check_client_state(tree.map(lambda leaf: leaf[0], first), states.row(0))
        order = torch.where(new, len(states) + new.cumsum(0) - 1, rows)
        return tree.map(lambda *parts: torch.cat(parts)[order], states.columns, first)

    def _discount(self, message: Tree, work: Work) -> Tree:
        """The message of an update, as much of it as counts."""
        if work.discount == 1 or self.algorithm.discount is None:
            return message
        return self.algorithm.discount(message, work.discount)


def _vmap(function: Callable[..., Any], dims: Any = 0) -> Callable[..., Any]:
    return torch.vmap(function, dims, randomness="different")


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
