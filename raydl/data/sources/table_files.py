"""CSV and Parquet files whose columns have names, read as pandas' tables: whole or in pieces."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from raydl.core.errors import SpecError, require, unknown
from raydl.data.forms.frames import check_complete

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_SUFFIXES = (".csv", ".parquet")
_BATCH = 1 << 14  # rows of a Parquet file that are read at a time


@dataclass(frozen=True)
class TableFile:
    """A file of a table.

    Args:
        uri: of the folder that it is in.
        name: its own.
        field: of the spec, which errors name.
    """

    uri: str
    name: str
    field: str

    @property
    def _is_csv(self) -> bool:
        return self.name.lower().endswith(".csv")

    def schema(self) -> "pa.Schema":
        """The columns with their types; of CSV, as the file's first rows have them."""
        from pyarrow import csv, parquet

        with self._open() as file:
            if self._is_csv:
                return csv.open_csv(file, convert_options=self._convert()).schema
            return parquet.read_schema(file)

    def read(self, names: Sequence[str]) -> "pd.DataFrame":
        """All rows of some columns, of which no value may be missing."""
        from pyarrow import csv, parquet

        with self._open() as file:
            if self._is_csv:
                convert = self._convert(include_columns=[*names])
                table = csv.read_csv(file, convert_options=convert)
            else:
                table = parquet.read_table(file, columns=[*names])
            return self._checked(table, names)

    def pieces(self) -> list[int | None]:
        """What of the file can be read apart: a Parquet file's row groups, or all."""
        from pyarrow import parquet

        if self._is_csv:
            return [None]
        with self._open() as file:
            return [*range(parquet.ParquetFile(file).num_row_groups)]

    def batches(
        self, piece: int | None, names: Sequence[str], words: Sequence[str]
    ) -> Iterator["pd.DataFrame"]:
        """Some columns of a piece, some rows at a time.

        Args:
            piece: one of `pieces`.
            names: of the columns.
            words: of those of them that hold words.
        """
        import pyarrow as pa
        from pyarrow import csv, parquet

        with self._open() as file:
            if self._is_csv:
                # Of later rows, what the first ones looked like does not decide.
                numbers = {
                    field.name: pa.string() if field.name in words else pa.float64()
                    for field in self.schema()
                    if field.name in names and not pa.types.is_boolean(field.type)
                }
                convert = self._convert(include_columns=[*names], column_types=numbers)
                found = csv.open_csv(file, convert_options=convert)
            else:
                table = parquet.ParquetFile(file)
                found = table.iter_batches(_BATCH, row_groups=[piece], columns=[*names])
            for batch in found:
                yield self._checked(pa.Table.from_batches([batch]), names)

    def _checked(self, table: "pa.Table", names: Sequence[str]) -> "pd.DataFrame":
        frame: pd.DataFrame = table.select([*names]).to_pandas()
        check_complete(self.field, frame)
        return frame

    def _convert(self, **options: Any) -> Any:
        from pyarrow import csv

        return csv.ConvertOptions(strings_can_be_null=True, **options)

    @contextmanager
    def _open(self) -> Iterator["pa.NativeFile"]:
        """The file, to be read; what goes wrong with it becomes a SpecError."""
        from pyarrow import ArrowException

        from raydl.storage import Folder

        try:
            with Folder(self.uri, self.field).reading(self.name) as file:
                yield file
        except (OSError, ArrowException) as error:
            place = f"{self.uri}/{self.name}"
            raise SpecError(f"{self.field} is {place!r}, which cannot be read: {error}") from error


def list_files(uri: str, field: str) -> list[TableFile]:
    """The files of a table: one, or those of a folder by their names.

    Raises:
        SpecError: if there are none.
    """
    from raydl.storage import Folder

    place = Folder(uri, field)
    if PurePath(place.name).suffix:
        allowed = "a file .csv or .parquet, or a folder of such"
        require(place.name.lower().endswith(_SUFFIXES), field, uri, allowed)
        return [TableFile(place.parent, place.name, field)]
    found = [name for name in place.names() if name.lower().endswith(_SUFFIXES)]
    require(bool(found), field, uri, "a file .csv or .parquet, or a folder of such")
    return [TableFile(uri, name, field) for name in found]


def check_columns(schema: "pa.Schema", names: Sequence[str], field: str) -> None:
    """Raises a SpecError unless each of the columns is there, once."""
    for name in names:
        if name not in schema.names:
            raise unknown(f"column of {field}", name, schema.names)
        once = schema.names.count(name) == 1
        require(once, f"the columns of {field}", schema.names, "of different names")
