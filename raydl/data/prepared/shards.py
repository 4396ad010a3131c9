"""Samples into shards, a chunk in memory at a time."""

import hashlib
import io
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from torch import Tensor

from raydl.data.prepared.layout import (
    ENDS,
    Column,
    Part,
    ShardFile,
    ends_of,
    extremes_of,
    merge_extremes,
)

if TYPE_CHECKING:
    from pyarrow import NativeFile

    from raydl.storage import Folder

_CHUNK = 1 << 24  # bytes of samples in a record batch: what is in memory as a shard is written


class ShardWriter:
    """Writes the samples of a split, in order, to shards of a folder; a context manager.

    A shard has its name only when it is whole.

    Args:
        folder: where to.
        part: name of the split.
        shard_bytes: bytes of samples in a shard, at most; one sample at least.
    """

    def __init__(self, folder: "Folder", part: str, shard_bytes: int) -> None:
        self._folder, self._part, self._shard_bytes = folder, part, shard_bytes
        self._columns: dict[str, Column] = {}
        self._chunk: dict[str, npt.NDArray[Any]] = {}
        self._rows, self._chunks, self._filled = 0, 0, 0  # of a chunk, of a shard, of this chunk
        self._open: _OpenShard | None = None
        self._shards: list[ShardFile] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None and self._open is not None:
            self._open.abandon(error)

    def append(self, samples: Mapping[str, Tensor]) -> None:
        """Writes samples behind those before; each column has as many, [n, ...].

        Raises:
            SpecError: if they are of a type that cannot be mapped.
        """
        if not self._columns:
            self._begin(samples)
        count, done = len(next(iter(samples.values()))), 0
        while done < count:
            stop = min(count, done + self._rows - self._filled)
            filled = self._filled + stop - done
            for name, chunk in self._chunk.items():
                chunk[self._filled : filled] = samples[name][done:stop].numpy()
            self._filled, done = filled, stop
            if filled == self._rows:
                self._write_chunk()

    def close(self) -> Part:
        """Writes what is left, and tells of all that was written."""
        if self._filled:
            self._write_chunk()
        if self._open is not None:
            self._shards.append(self._open.close())
        return Part(self._columns, self._shards)

    def _begin(self, samples: Mapping[str, Tensor]) -> None:
        """Makes room for a chunk of such samples."""
        self._columns = {name: Column.of(name, each) for name, each in samples.items()}
        row = sum(column.nbytes for column in self._columns.values())
        self._rows = max(1, min(_CHUNK, self._shard_bytes) // row)
        self._chunks = max(1, self._shard_bytes // (self._rows * row))
        self._chunk = {
            name: np.empty((self._rows, *column.shape), column.type)
            for name, column in self._columns.items()
        }

    def _write_chunk(self) -> None:
        if self._open is None:
            name = f"{self._part}-{len(self._shards):05}.arrow"
            self._open = _OpenShard(self._folder, name, self._columns)
        self._open.write({name: each[: self._filled] for name, each in self._chunk.items()})
        self._filled = 0
        if self._open.chunks == self._chunks:
            self._shards.append(self._open.close())
            self._open = None


class _OpenShard:
    """A shard that is being written."""

    def __init__(self, folder: "Folder", name: str, columns: Mapping[str, Column]) -> None:
        import pyarrow as pa

        self._name, self._columns = name, columns
        self._stack = ExitStack()
        self._file = _Digested(self._stack.enter_context(folder.writing(name)))
        fields = [column.arrow_field(each) for each, column in columns.items()]
        self._schema = pa.schema(fields)
        self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "w"), self._schema)
        self._rows, self.chunks = 0, 0
        self._extremes: dict[str, list[list[list[int]]]] = {
            each: [] for each, column in columns.items() if column.type == "int64"
        }

    def write(self, chunk: Mapping[str, npt.NDArray[Any]]) -> None:
        """Writes samples as a record batch."""
        import pyarrow as pa

        arrays = [column.arrow_array(chunk[name]) for name, column in self._columns.items()]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))
        for name, extremes in self._extremes.items():
            samples = chunk[name]
            extremes.append(extremes_of(samples, self._rows * samples[0].size))
        self._rows += len(arrays[0])
        self.chunks += 1

    def close(self) -> ShardFile:
        """Gives the shard its name, and tells of it."""
        self._writer.close()
        self._stack.close()
        extremes = {name: merge_extremes(each) for name, each in self._extremes.items()}
        file = self._file
        return ShardFile(self._name, self._rows, file.length, file.digest, file.ends, extremes)

    def abandon(self, error: BaseException) -> None:
        """Leaves the shard without its name."""
        self._stack.__exit__(type(error), error, error.__traceback__)


class _Digested(io.RawIOBase):
    """A stream that is told of as it is written."""

    def __init__(self, stream: "NativeFile") -> None:
        self._stream, self._sha256 = stream, hashlib.sha256()
        self._head, self._tail = b"", b""
        self.length = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        size = len(content)
        self._stream.write(content)
        self._sha256.update(content)
        self._head += bytes(content[: max(0, ENDS - len(self._head))])
        self._tail = (self._tail + bytes(content[-ENDS:]))[-ENDS:]
        self.length += size
        return size

    @property
    def digest(self) -> str:
        """Of all that was written."""
        return self._sha256.hexdigest()

    @property
    def ends(self) -> str:
        """Of its first and its last bytes."""
        return ends_of(self._head, self._tail)
