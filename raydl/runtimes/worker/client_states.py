"""What some clients keep between rounds, as columns: one tensor [rows, ...] for each leaf."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.core.tree import Tree

_IN_TIME = "at the start (client.initial_state)", "after a round (client.final)"
AMONG = "of one client", "of another"


@dataclass(frozen=True, eq=False)
class ClientStates:
    """What some clients keep, side by side.

    Args:
        clients: numbers of the clients, each once, int64 [rows].
        columns: a tree of a client state's structure, of leaves [rows, ...]; ``{}`` of nobody.
    """

    clients: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    columns: Tree = field(default_factory=dict)

    @classmethod
    def stack(cls, states: Mapping[int, Tree]) -> "ClientStates":
        """Stacks what each of some clients keeps.

        Raises:
            SpecError: if the clients' states differ in structure.
        """
        if not states:
            return cls()
        first, *others = states.values()
        for each in others:
            check_client_state(first, each, AMONG)
        columns = tree.map(lambda *leaves: torch.stack(leaves), first, *others)
        return cls(torch.tensor(list(states)), columns)

    @classmethod
    def from_tree(cls, value: Tree) -> "ClientStates":
        """The states that `as_tree` made a tree of."""
        return cls(value["clients"], value["columns"]) if value else cls()

    def as_tree(self) -> Tree:
        """One tree of clients and columns, for a wire or a file; ``{}`` of nobody."""
        return {"clients": self.clients, "columns": self.columns} if len(self) else {}

    def __len__(self) -> int:
        return len(self.clients)

    def find(self, clients: Sequence[int]) -> Tensor:
        """The row of each of the clients, int64 [clients]; -1 of those that have none."""
        rows = {client: row for row, client in enumerate(self.clients.tolist())}
        return torch.tensor([rows.get(client, -1) for client in clients], dtype=torch.int64)

    def row(self, at: int) -> Tree:
        """What the client of a row keeps, as views of the columns."""
        return tree.map(lambda column: column[at], self.columns)

    def take(self, rows: Tensor) -> "ClientStates":
        """Some rows, by their numbers or a mask, in memory of their own."""
        return ClientStates(self.clients[rows], tree.map(lambda each: each[rows], self.columns))

    def map(self, function: Callable[[Tensor], Tensor]) -> "ClientStates":
        """The same clients, with a function of each column."""
        return ClientStates(self.clients, tree.map(function, self.columns))


def check_client_state(one: Tree, other: Tree, where: tuple[str, str] = _IN_TIME) -> None:
    """Raises a SpecError unless two states of clients have one structure.

    Args:
        one: state of a client.
        other: another one.
        where: in words, where either is found; by default of one client, before and after a round.
    """
    if tree.is_empty(one) and tree.is_empty(other):
        return
    was, now = tree.layout(one), tree.layout(other)
    for path in was.keys() | now.keys():
        if was.get(path) != now.get(path):
            raise SpecError(
                "what clients keep must have one structure, in all rounds and of all clients, but "
                f"{path} is {_leaf_in_words(was.get(path))} {where[0]}, and "
                f"{_leaf_in_words(now.get(path))} {where[1]}"
            )


def _leaf_in_words(leaf: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "not there" if leaf is None else f"{leaf[1]} {list(leaf[0])}"
