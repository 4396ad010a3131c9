"""A column of samples in mapped files, copied from there as they are asked for."""

import warnings
from collections.abc import Sequence
from mmap import MADV_WILLNEED, PAGESIZE, mmap
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.data.prepared.layout import Column

if TYPE_CHECKING:
    from raydl.data.prepared.mapping import Place


class Extent(NamedTuple):
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
        files: the mapped files, read-only.
        extents: where its samples lie, in order; one at least.
        fits: whether the files fit into memory. Of those that do the kernel reads ahead, and soon
            has all of them; of larger ones it is told what is wanted, and reads nothing else.
        extremes: the smallest and the largest number, see `raydl.data.prepared.layout`; [] if
            they are not written down.
    """

    def __init__(
        self,
        place: "Place",
        column: Column,
        files: Sequence[mmap],
        extents: Sequence[Extent],
        extremes: list[list[int]],
        *,
        fits: bool = True,
    ) -> None:
        self.place, self.column, self.extremes = place, column, extremes
        self._files, self._fits = files, fits
        self._views = [memoryview(each) for each in files]
        self._file, self._offset, rows = np.array(extents).T
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
        extent = np.searchsorted(self._stop, wanted, side="right")
        size = self.column.nbytes
        offsets = self._offset[extent] + (wanted - self._start[extent]) * size
        if not self._fits:
            self._read_ahead(self._file[extent].tolist(), offsets.tolist())
        if self._windows is not None:
            return self._typed(self._windows.index_select(0, torch.from_numpy(offsets)))
        copied = torch.empty(len(wanted) * size, dtype=torch.uint8)
        into, at = memoryview(copied.numpy().data), 0
        for file, offset in zip(self._file[extent].tolist(), offsets.tolist(), strict=True):
            into[at : at + size] = self._views[file][offset : offset + size]
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
            into[at : at + length] = self._views[self._file[each]][offset : offset + length]
            at, row = at + length, row + rows
        return self._typed(copied)

    def _read_ahead(self, files: list[int], offsets: list[int]) -> None:
        """Has the kernel read samples, all at the same time: when copied, each is waited for."""
        for file, offset in zip(files, offsets, strict=True):
            start = offset - offset % PAGESIZE
            length = offset - start + self.column.nbytes
            self._files[file].madvise(MADV_WILLNEED, start, length)

    def _typed(self, copied: Tensor) -> Tensor:
        """The bytes of whole samples as samples."""
        return copied.reshape(-1).view(self.column.dtype).reshape(-1, *self.column.shape)


def _windows(file: mmap, size: int) -> Tensor:
    """Every stretch of ``size`` bytes of a file, without a copy: uint8 [bytes - size + 1, size]."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given buffer is not writable")
        flat = torch.frombuffer(file, dtype=torch.uint8)
    return flat.as_strided((len(file) - size + 1, size), (1, 1))
