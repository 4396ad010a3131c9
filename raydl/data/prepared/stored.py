"""A column of samples in mapped files, copied from there as they are asked for."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.data.prepared.layout import Column

if TYPE_CHECKING:
    from raydl.data.prepared.mapping import Place


class Stretch(NamedTuple):
    """Samples that lie in a file one after the other.

    Attributes:
        file: its number among the mapped ones.
        offset: bytes before the first of them.
        rows: how many there are.
    """

    file: int
    offset: int
    rows: int


class StoredColumn:
    """A column of samples in mapped files.

    Args:
        place: what names it from any process.
        column: what a sample is.
        files: the mapped files, uint8 [bytes] each; read-only.
        stretches: where its samples lie, in order; one at least.
        extremes: the smallest and the largest number, see `raydl.data.prepared.layout`; None if
            they are not written down.
    """

    def __init__(
        self,
        place: "Place",
        column: Column,
        files: Sequence[npt.NDArray[np.uint8]],
        stretches: Sequence[Stretch],
        extremes: list[list[int]] | None,
    ) -> None:
        self.place, self.column, self.extremes = place, column, extremes
        self._files = [memoryview(each.data) for each in files]
        self._file, self._offset, rows = np.array(stretches).T
        self._stop = np.cumsum(rows)
        self._start = self._stop - rows
        # Of a single file: every sample at every byte, as a tensor that torch gathers from.
        self._windows = _windows(files[0], column.nbytes) if len(files) == 1 else None

    @property
    def shape(self) -> tuple[int, ...]:
        """The number of samples, and the shape of each."""
        return (int(self._stop[-1]), *self.column.shape)

    def gather(self, wanted: npt.NDArray[np.int64]) -> Tensor:
        """Samples by number, int64 [B], copied: [B, ...].

        Raises:
            IndexError: if there is none of a number.
        """
        if len(wanted) and not (wanted.min() >= 0 and wanted.max() < self.shape[0]):
            raise IndexError(f"samples {wanted.min()} to {wanted.max()} of {self.shape[0]}")
        stretch = np.searchsorted(self._stop, wanted, side="right")
        size = self.column.nbytes
        offsets = self._offset[stretch] + (wanted - self._start[stretch]) * size
        if self._windows is not None:
            return self._typed(self._windows.index_select(0, torch.from_numpy(offsets)))
        copied = torch.empty(len(wanted) * size, dtype=torch.uint8)
        into, at = memoryview(copied.numpy().data), 0
        for file, offset in zip(self._file[stretch].tolist(), offsets.tolist(), strict=True):
            into[at : at + size] = self._files[file][offset : offset + size]
            at += size
        return self._typed(copied)

    def copy(self, start: int, stop: int) -> Tensor:
        """Samples that follow one another, copied: [stop - start, ...]."""
        size, at, row = self.column.nbytes, 0, start
        copied = torch.empty((stop - start) * size, dtype=torch.uint8)
        into = memoryview(copied.numpy().data)
        while row < stop:
            each = int(np.searchsorted(self._stop, row, side="right"))
            rows = min(stop, int(self._stop[each])) - row
            offset = int(self._offset[each] + (row - self._start[each]) * size)
            length = rows * size
            into[at : at + length] = self._files[self._file[each]][offset : offset + length]
            at, row = at + length, row + rows
        return self._typed(copied)

    def _typed(self, copied: Tensor) -> Tensor:
        """The bytes of whole samples as samples."""
        return copied.reshape(-1).view(self.column.dtype).reshape(-1, *self.column.shape)


def _windows(file: npt.NDArray[np.uint8], size: int) -> Tensor:
    """Every stretch of ``size`` bytes of a file, without a copy: uint8 [bytes - size + 1, size]."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        flat = torch.from_numpy(file)
    return flat.as_strided((len(file) - size + 1, size), (1, 1))
