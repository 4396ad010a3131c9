"""Tables: CSV or Parquet files whose rows are samples."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from raydl.core.errors import SpecError, require, unknown
from raydl.data.sources.decoded import DecodedSource, Survey

if TYPE_CHECKING:
    import pyarrow as pa

    from raydl.storage import Folder

_SUFFIXES = (".csv", ".parquet")
_BATCH = 1 << 14  # rows of a Parquet file that are decoded at a time


class TableFile(NamedTuple):
    """A file, which can be decoded apart from others.

    Attributes:
        name: in its folder.
        features: the columns that are inputs, in order.
    """

    name: str
    features: list[str]


@dataclass(frozen=True)
class Tabular(DecodedSource):
    """Tables whose rows are samples: a column tells the class, all others are numbers.

    Args:
        uri: file .csv (with names in its first line) or .parquet, or folder of several with the
            same columns: a path, or a URI such as s3://bucket/folder.
        target: column of the classes, whole numbers or names, which are numbered in their order.
    """

    uri: str
    target: str

    def __post_init__(self) -> None:
        super().__post_init__()
        require(bool(self.uri), "data.uri", self.uri, "a path or a URI")

    @property
    def title(self) -> str:
        """The name of the file or the folder."""
        return self._named.name

    @property
    def _named(self) -> "Folder":
        from raydl.storage import Folder

        return Folder(self.uri, "data.uri")

    @property
    def _folder(self) -> "Folder":
        """The folder that the files are in."""
        from raydl.storage import Folder

        named = self._named
        return Folder(named.parent, "data.uri") if self._is_file else named

    @property
    def _is_file(self) -> bool:
        return self.uri.endswith(_SUFFIXES)

    def survey(self) -> Survey:
        """Reads the column of the classes."""
        import pyarrow as pa

        folder = self._folder
        names = [self.title] if self._is_file else folder.names()
        names = [name for name in names if name.endswith(_SUFFIXES)]
        if not names:
            raise SpecError(f"data.uri is {self.uri!r}, where there are no .csv or .parquet files")
        with self._told(names[0]):
            schema = self._schema(names[0])
        if self.target not in schema.names:
            raise unknown("data.target, a column,", self.target, schema.names)
        features = [name for name in schema.names if name != self.target]
        require(bool(features), "data.target", self.target, "one of several columns")
        chunks = []
        for name in names:
            with self._told(name):
                chunks += self._column(name).chunks
        codes, classes = self._number(pa.chunked_array(chunks, pa.string()))
        return Survey(codes, classes, [TableFile(name, features) for name in names])

    def decode(self, piece: TableFile) -> Iterator[Tensor]:
        """Reads the features of a file, float32 [B, F]."""
        with self._told(piece.name), self._folder.reading(piece.name) as file:
            for batch in _batches(file, piece):
                for name in piece.features:
                    empty = batch.column(name).null_count
                    if empty:
                        raise ValueError(f"column {name!r} has {empty} empty cells among numbers")
                columns = [
                    batch.column(name).to_numpy(zero_copy_only=False) for name in piece.features
                ]
                yield torch.from_numpy(np.stack(columns, 1).astype(np.float32))

    def _schema(self, name: str) -> "pa.Schema":
        from pyarrow import csv, parquet

        with self._folder.reading(name) as file:
            if name.endswith(".csv"):
                return csv.open_csv(file).schema
            return parquet.read_schema(file)

    def _column(self, name: str) -> "pa.ChunkedArray":
        """The classes of a file, as they are written."""
        import pyarrow as pa
        from pyarrow import csv, parquet

        with self._folder.reading(name) as file:
            if name.endswith(".csv"):
                convert = csv.ConvertOptions(
                    include_columns=[self.target],
                    column_types={self.target: pa.string()},
                    strings_can_be_null=True,
                )
                return csv.read_csv(file, convert_options=convert).column(0)
            column = parquet.read_table(file, columns=[self.target]).column(0)
        if pa.types.is_floating(column.type):
            raise ValueError(
                f"its column {self.target!r} is of type {column.type}, and classes are whole "
                "numbers or names"
            )
        return column.cast(pa.string())

    def _number(self, column: "pa.ChunkedArray") -> tuple[Tensor, int]:
        """The number of each row's class, int64 [n], and how many classes there are."""
        import pyarrow as pa

        if column.null_count:
            raise SpecError(f"data.target {self.target!r} is empty in {column.null_count} rows")
        coded = column.combine_chunks().dictionary_encode()
        distinct = coded.dictionary
        with suppress(pa.ArrowInvalid):  # names stay names, and are in the order of letters
            distinct = distinct.cast(pa.int64())
        rank = np.argsort(np.argsort(distinct.to_numpy(zero_copy_only=False)))
        return torch.from_numpy(rank[coded.indices.to_numpy()]), len(rank)

    @contextmanager
    def _told(self, name: str) -> Iterator[None]:
        """What goes wrong with a file becomes a SpecError."""
        from pyarrow import ArrowException

        try:
            yield
        except (OSError, ArrowException, ValueError, KeyError, TypeError) as error:
            if isinstance(error, SpecError):
                raise
            raise SpecError(
                f"data.uri is {self.uri!r}, but {name} cannot be read as one of its tables: {error}"
            ) from error


def _batches(file: "pa.NativeFile", piece: TableFile) -> Iterator["pa.RecordBatch"]:
    """The features of a file, some rows at a time."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    if piece.name.endswith(".csv"):
        kinds = dict.fromkeys(piece.features, pa.float32())
        convert = csv.ConvertOptions(include_columns=piece.features, column_types=kinds)
        yield from csv.open_csv(file, convert_options=convert)
    else:
        table = parquet.ParquetFile(file)
        for name in piece.features:
            kind = table.schema_arrow.field(name).type
            if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
                raise ValueError(f"column {name!r} is of type {kind}, which is no number")
        yield from table.iter_batches(_BATCH, columns=piece.features)
