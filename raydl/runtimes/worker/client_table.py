"""What the clients of a run keep between rounds, in memory that grows with them."""

import mmap
import shutil
import tempfile
from collections.abc import Callable, Sequence
from math import prod
from weakref import ref

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.tree import Tree
from raydl.runtimes.worker.client_states import AMONG, ClientStates, check_client_state
from raydl.storage import StorageError

_IN_MEMORY = 4 << 30  # bytes of a table; a larger one lies in files that the system pages


class ClientTable:
    """What the clients of a run keep by now.

    It is written in place: a round costs what its cohort weighs, however many clients keep
    something by then. Its memory doubles when it is full. Beyond 4 GiB the columns lie in temporary
    files that are mapped into memory, so that what is larger than memory goes to disk (``TMPDIR``
    says where).

    Args:
        states: what it begins with, which is copied.
    """

    def __init__(self, states: ClientStates | None = None) -> None:
        self._rows = torch.empty(0, dtype=torch.int64)  # by client, -1 of those without
        self._count = 0
        self._clients = torch.empty(0, dtype=torch.int64)
        self._columns: Tree = {}
        self._lent: Callable[[], ClientStates | None] = _nothing
        if states is not None:
            self.update(states)

    def gather(self, clients: Sequence[int]) -> ClientStates:
        """What those of the clients keep that keep anything, in this order, as a copy."""
        if not self._count:
            return ClientStates()
        numbers = torch.tensor(clients, dtype=torch.int64)
        rows = self._find(numbers)
        return self._written().take(rows[rows >= 0])

    def update(self, states: ClientStates) -> None:
        """Takes up what some clients keep now, by copying it.

        Raises:
            SpecError: if its structure is not that of the other clients'.
            StorageError: if there is no room for it on the disk.
        """
        if not len(states):
            return
        if self._count:
            check_client_state(self._written().row(0), states.row(0), AMONG)
        new = states.clients[self._find(states.clients) < 0].tolist()
        fresh = torch.tensor([*dict.fromkeys(new)], dtype=torch.int64)
        total = self._count + len(fresh)
        if not self._count or total > len(self._clients) or self._lent() is not None:
            self._move(states.columns, max(total, min(2 * len(self._clients), 2 * total)))
        self._know(fresh, torch.arange(self._count, total))
        self._clients[self._count : total] = fresh
        self._count = total
        rows = self._rows[states.clients]

        def write(column: Tensor, leaf: Tensor) -> Tensor:
            column[rows] = leaf
            return column

        tree.map(write, self._columns, states.columns)

    def states(self) -> ClientStates:
        """What all clients keep by now, in the order in which they came.

        These are views: as long as the value is held, a change of the table moves it elsewhere
        first.
        """
        lent = self._lent()
        if lent is None:
            lent = self._written()
            self._lent = ref(lent)
        return lent

    def _written(self) -> ClientStates:
        """Views of the rows that are in use."""
        count = self._count
        columns = tree.map(lambda column: column[:count], self._columns)
        return ClientStates(self._clients[:count], columns)

    def _find(self, clients: Tensor) -> Tensor:
        """The row of each client, int64 [clients]; -1 of those that have none."""
        rows = torch.full_like(clients, -1)
        known = clients < len(self._rows)
        rows[known] = self._rows[clients[known]]
        return rows

    def _know(self, clients: Tensor, rows: Tensor) -> None:
        """Notes the rows of clients that come new."""
        if len(clients) and (most := int(clients.max()) + 1) > len(self._rows):
            longer = torch.full((max(most, 2 * len(self._rows)),), -1)
            longer[: len(self._rows)] = self._rows
            self._rows = longer
        self._rows[clients] = rows

    def _move(self, like: Tree, capacity: int) -> None:
        """Moves all rows into memory for so many, of columns like these."""
        count, columns = self._count, dict(tree.leaves(self._columns))
        width = sum(_nbytes(1, column) for _, column in tree.leaves(like))
        on_disk = capacity * width > _IN_MEMORY
        if on_disk:
            _check_room(capacity * width)
        moved = {}
        for path, column in tree.leaves(like):
            if path.endswith("/"):  # an empty tree
                moved[path] = column
                continue
            moved[path] = _allocate(capacity, column, on_disk=on_disk)
            if count:
                moved[path][:count] = columns[path][:count]
        clients = torch.empty(capacity, dtype=torch.int64)
        clients[:count] = self._clients[:count]
        self._clients, self._columns = clients, tree.from_leaves(moved)
        self._lent = _nothing


def _nothing() -> None:
    """What a reference gives to a value that is gone."""


def _nbytes(rows: int, column: Tensor) -> int:
    """The bytes of so many rows of a column."""
    return rows * prod(column.shape[1:]) * column.element_size()


def _allocate(rows: int, like: Tensor, *, on_disk: bool) -> Tensor:
    """A column for so many rows, apart from the heap: its pages are taken as they are written to.

    What is freed of it goes back to the system at once, see `keep_freed_memory`.
    """
    shape, nbytes = (rows, *like.shape[1:]), _nbytes(rows, like)
    if not nbytes:
        return torch.empty(shape, dtype=like.dtype)
    if on_disk:
        with tempfile.TemporaryFile() as file:
            file.truncate(nbytes)
            memory = mmap.mmap(file.fileno(), nbytes)
    else:
        memory = mmap.mmap(-1, nbytes, access=mmap.ACCESS_COPY)
    return torch.frombuffer(memory, dtype=like.dtype).view(shape)


def _check_room(nbytes: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if nbytes > free:
        raise StorageError(
            f"what clients keep takes {nbytes / 1e9:.1f} GB by now, but in {folder} "
            f"{free / 1e9:.1f} GB are free; set TMPDIR to a folder on a larger disk"
        )
