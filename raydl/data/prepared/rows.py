"""A tensor whose samples lie in mapped files: what a split of mapped data holds."""

from typing import Any, Self

import torch
from torch import Tensor

from raydl.data.gathered import Extreme, Gathered
from raydl.data.prepared.stored import StoredColumn


class Rows(Gathered):
    """Samples [n, ...] in mapped files.

    The kernel reads of the files what is asked for, keeps it while there is memory, and shares it
    among processes. Pickled, it is its place alone, whose files are mapped again where it arrives.

    Args:
        stored: the samples.
        device: what they are brought to.
    """

    _stored: StoredColumn

    def __new__(cls, stored: StoredColumn, device: torch.device | str = "cpu") -> Self:
        """A tensor on torch's device for shapes alone."""
        self = torch.empty(stored.shape, dtype=stored.column.dtype, device="meta").as_subclass(cls)
        self._stored, self._device = stored, torch.device(device)
        return self

    @property
    def stored(self) -> StoredColumn:
        """The samples where they lie."""
        return self._stored

    def to(self, device: torch.device | str) -> Self:  # type: ignore[override]
        """The same samples, to be brought to a device."""
        return type(self)(self._stored, device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Samples by number, int64 [B], copied: [B, ...].

        Raises:
            IndexError: if there is none of a number.
        """
        assert dim == 0
        return self._stored.gather(index.cpu().numpy()).to(self._device)

    def between(self, start: int, stop: int) -> Tensor:
        """Samples that follow one another, copied: [stop - start, ...]."""
        return self._stored.copy(start, stop).to(self._device)

    def extreme(self, which: int) -> Extreme:
        """The smallest number (0), or the largest (1), as they are written down.

        Raises:
            TypeError: if they are not.
        """
        if not self._stored.extremes:
            raise TypeError(f"the extremes of {self.dtype} are not written down: take some samples")
        return Extreme(*self._stored.extremes[which])

    def extreme_samples(self) -> Tensor:
        """The numbers of the samples that hold the smallest and the largest number, int64 [2]."""
        size = self[:1].numel()
        return torch.tensor([at // size for _, at in self._stored.extremes] or [0, 0])

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Rows({tuple(self.shape)}, {self.dtype}, {self._stored.place.uri!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self._stored.place.open, ()
