"""All-reduce by three schemes, written on point-to-point messages: all to all, tree and ring.

Each adds up a flat tensor over the processes of a ``torch.distributed`` group, in place, and leaves
the very same bits in all of them. They are there to be counted and compared, beside the closed
forms of `raydl.communication.cost`; for speed there is ``torch.distributed.all_reduce``.

Every process posts the receives and the sends of a step together before it waits for any of them,
so that no order of the processes and no size of the messages can lock them up.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor


class Sent(NamedTuple):
    """What one process did in an exchange.

    Attributes:
        messages: that it sent.
        nbytes: of them together.
        steps: in which it sent or received anything, one after another.
    """

    messages: int = 0
    nbytes: int = 0
    steps: int = 0


Collective: TypeAlias = Callable[[Tensor, dist.ProcessGroup | None], Sent]


def all_to_all(flat: Tensor, group: dist.ProcessGroup | None = None) -> Sent:
    """Sends the whole tensor to every other process, and adds up what comes, in order of rank.

    Every process holds all the summands for a while.

    Args:
        flat: the summand, contiguous, [elements], the same size and type in every process; becomes
            the sum.
        group: the processes; all of them by default.

    Returns:
        What this process sent.
    """
    port = _Port(flat, group)
    every = flat.new_empty(port.size, len(flat))
    every[port.rank] = flat
    others = [rank for rank in range(port.size) if rank != port.rank]
    port.step([(flat, rank) for rank in others], [(every[rank], rank) for rank in others])
    flat.copy_(every[0])
    for summand in every[1:]:
        flat.add_(summand)
    return port.sent


def tree(flat: Tensor, group: dist.ProcessGroup | None = None) -> Sent:
    """Adds up along a binomial tree to rank 0, and sends the sum back along it.

    Args:
        flat: see `all_to_all`.
        group: see `all_to_all`.

    Returns:
        What this process sent.
    """
    port = _Port(flat, group)
    reach = 1  # ranks from one node of the present level to the next
    while reach < port.size and port.rank % (2 * reach) == 0:
        if port.rank + reach < port.size:
            summand = torch.empty_like(flat)
            port.step([], [(summand, port.rank + reach)])
            flat.add_(summand)
        reach *= 2
    if port.rank:
        parent = port.rank - reach
        port.step([(flat, parent)], [])
        port.step([], [(flat, parent)])
    while reach > 1:
        reach //= 2
        if port.rank + reach < port.size:
            port.step([(flat, port.rank + reach)], [])
    return port.sent


def ring(flat: Tensor, group: dist.ProcessGroup | None = None) -> Sent:
    """Adds up part by part around a ring (reduce-scatter), and passes the sums on (all-gather).

    The parts are as ``torch.tensor_split`` cuts them; of a tensor with fewer elements than there
    are processes some are empty, and travel all the same.

    Args:
        flat: see `all_to_all`.
        group: see `all_to_all`.

    Returns:
        What this process sent.
    """
    port = _Port(flat, group)
    parts = flat.tensor_split(port.size)
    after, before = (port.rank + 1) % port.size, (port.rank - 1) % port.size
    for step in range(port.size - 1):
        mine, theirs = (parts[(rank - step) % port.size] for rank in (port.rank, before))
        summand = torch.empty_like(theirs)
        port.step([(mine, after)], [(summand, before)])
        theirs.add_(summand)
    for step in range(port.size - 1):
        mine, theirs = (parts[(rank + 1 - step) % port.size] for rank in (port.rank, before))
        port.step([(mine, after)], [(theirs, before)])
    return port.sent


_Parcel: TypeAlias = tuple[Tensor, int]  # what, and to or from which rank


class _Port:
    """One process's end of its links, where what it sends is counted."""

    def __init__(self, flat: Tensor, group: dist.ProcessGroup | None) -> None:
        if flat.dim() != 1 or not flat.is_contiguous():
            raise ValueError(
                f"the tensor has shape {tuple(flat.shape)} and strides {flat.stride()}; it must be "
                "flat and contiguous: reduce a tree as the concatenation of its flattened leaves"
            )
        self.sent = Sent()
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)
        self._group = group

    def step(self, sends: list[_Parcel], receives: list[_Parcel]) -> None:
        """Has all these messages under way at once, and waits until they have come."""
        if not sends and not receives:
            return
        posted = [self._post(dist.irecv, parcel) for parcel in receives]
        posted += [self._post(dist.isend, parcel) for parcel in sends]
        for work in dist.batch_isend_irecv(posted):
            work.wait()
        self.sent = Sent(
            self.sent.messages + len(sends),
            self.sent.nbytes + sum(what.nbytes for what, _ in sends),
            self.sent.steps + 1,
        )

    def _post(self, operation: Callable[..., dist.Work | None], parcel: _Parcel) -> dist.P2POp:
        what, rank = parcel
        return dist.P2POp(operation, what, group=self._group, group_peer=rank)
