"""Tables in CSV and Parquet files, whose columns have names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.data.dataset import check_fractions
from raydl.data.forms.arrays import as_owners
from raydl.data.forms.frames import is_number
from raydl.data.sources.decoded import DecodedSource, Survey
from raydl.data.sources.table_files import TableFile, check_columns, list_files

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MOST_VALUES = 1000  # of a column of words, or of a target that is taken for classes


@dataclass(frozen=True)
class Table(DecodedSource):
    """Rows of CSV or Parquet files, on any file system that pyarrow opens.

    Columns of numbers become features as they are, float32, standardized by the mean and the
    standard deviation of the training rows. A column of words becomes a feature for each of its
    words, in alphabetical order, which is 1 where the word stands and 0 elsewhere (one-hot). A
    target of floating-point numbers is a number; of words, yes and no, or integers it is a class,
    numbered in their order. Missing values are refused.

    Args:
        uri: path of the file, or of a folder of files with the same columns; or a URI such as
            s3://bucket/table.parquet.
        target: name of the column to predict; or a list of several, which are numbers.
        inputs: names of the columns to predict it from; all others by default.
        owner: name of the column that says whose a row is, its natural client.
        test_uri: path or URI of an official test set, with the same columns; a fraction of the rows
            if there is none.
        kind: whether the target is classes or numbers, if its type is not to decide that.
        standardize: whether the numbers among the inputs are standardized.
        validation: fraction of the rows held out for validation, stratified by class.
        test: fraction of the rows held out as the test set, if there is no official one.
        split_seed: seed of the choice of the held-out rows.
    """

    uri: str
    target: tuple[str, ...] | str
    inputs: tuple[str, ...] | None = None
    owner: str | None = None
    test_uri: str | None = None
    kind: Literal["classes", "numbers"] | None = None
    standardize: bool = True
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)
        for field in ("target", "inputs"):
            given = getattr(self, field)
            require(given is None or len(given) > 0, f"data.{field}", given, "one name or more")
        if both := {*self._targets} & {*(self.inputs or ())}:
            raise SpecError(f"data.inputs has {min(both)!r}, which is data.target; leave it out")
        if len(self._targets) > 1:
            require(self.kind != "classes", "data.kind", self.kind, "numbers, of several targets")

    @property
    def _targets(self) -> tuple[str, ...]:
        return (self.target,) if isinstance(self.target, str) else self.target

    def survey(self) -> Survey:
        """Reads the targets, the owners, and which words there are.

        Raises:
            SpecError: if a file cannot be read, has no such columns, or has missing values.
        """
        import pandas as pd

        files, sizes = list_files(self.uri, "data.uri"), [0, 0, 0]
        official = [] if self.test_uri is None else list_files(self.test_uri, "data.test_uri")
        schema = files[0].schema()
        inputs = self._inputs(schema.names)
        owner = [] if self.owner is None else [self.owner]
        check_columns(schema, [*inputs, *self._targets, *owner], "data.uri")
        kinds = {name: _kind(schema.field(name)) for name in inputs}
        words = [name for name, kind in kinds.items() if kind == "words"]
        parts = []
        for part, file in ((0 if file in files else 2, file) for file in [*files, *official]):
            check_columns(file.schema(), [*inputs, *self._targets], file.field)
            columns = [*dict.fromkeys([*self._targets, *words, *(owner if part == 0 else ())])]
            parts.append(file.read(columns))
            sizes[part] += len(parts[-1])
        require(sizes[0] > 0, "the number of rows in data.uri", sizes[0], "1 or more")
        rows = pd.concat(parts, ignore_index=True)
        owners = pd.concat(parts[: len(files)])  # others have none
        targets, classes = self._encode_targets(rows)
        vocabulary = {name: _words(rows[name]) for name in words}
        widths = [len(vocabulary.get(name, "1")) for name in inputs]
        standard = [self.standardize and kind == "numbers" for kind in kinds.values()]
        return Survey(
            name=PurePath(self.uri.partition("?")[0]).stem,
            targets=targets,
            classes=classes,
            sizes=sizes,
            pieces=[
                _Piece(file, piece, inputs, vocabulary)
                for file in [*files, *official]
                for piece in file.pieces()
            ],
            owners=as_owners("data.owner", owners[self.owner]) if owner else None,
            normalized=np.repeat(standard, widths),
        )

    def decode(self, piece: "_Piece") -> Iterator[Tensor]:
        """Reads the features of some rows, float32 [B, F]."""
        for rows in piece.file.batches(piece.number, piece.inputs, [*piece.vocabulary]):
            features = [
                _one_hot(rows[name], piece.vocabulary[name])
                if name in piece.vocabulary
                else _numbers(rows[name])[:, None]
                for name in piece.inputs
            ]
            yield torch.from_numpy(np.concatenate(features, axis=1))

    def _inputs(self, columns: Sequence[str]) -> list[str]:
        """The columns that are inputs."""
        if self.inputs is not None:
            return [*self.inputs]
        inputs = [name for name in columns if name not in (*self._targets, self.owner)]
        require(len(inputs) > 0, "data.inputs", inputs, "one column or more beside the target")
        return inputs

    def _encode_targets(self, rows: "pd.DataFrame") -> tuple[Tensor, int | None]:
        """The targets, and the number of classes if that is what they are."""
        from pandas.api import types

        columns = [rows[name] for name in self._targets]
        real = types.is_float_dtype(columns[0].dtype)
        if len(columns) > 1 or self.kind == "numbers" or (self.kind is None and real):
            numbers = torch.from_numpy(np.column_stack([*map(_numbers, columns)]))
            return numbers.squeeze(1) if len(columns) == 1 else numbers, None
        values, codes = np.unique(columns[0].to_numpy(), return_inverse=True)
        if self.kind is None and len(values) > min(_MOST_VALUES, len(rows) // 2):
            raise SpecError(
                f"data.target is {self.target!r}, a column of {len(values):,} different values in "
                f"{len(rows):,} rows ({columns[0].dtype}); say what it is: data.kind classes, or "
                "numbers"
            )
        return torch.from_numpy(codes.astype(np.int64)), len(values)


class _Piece(NamedTuple):
    """What can be decoded apart.

    Attributes:
        file: that it is in.
        number: one of the file's pieces.
        inputs: names of the columns, in the order of the features.
        vocabulary: of those that hold words, all of them, in their order.
    """

    file: TableFile
    number: int | None
    inputs: list[str]
    vocabulary: dict[str, npt.NDArray[Any]]


def _kind(column: "pa.Field") -> Literal["words", "flags", "numbers"]:
    """What a column of inputs holds."""
    from pyarrow import types

    held = column.type
    if types.is_dictionary(held) or types.is_string(held) or types.is_large_string(held):
        return "words"
    if types.is_boolean(held):
        return "flags"
    if types.is_integer(held) or types.is_floating(held) or types.is_null(held):
        return "numbers"  # or, of null, nothing at all
    raise _unfit(column.name, held)


def _words(column: "pd.Series[Any]") -> npt.NDArray[Any]:
    """The words of a column, in their order."""
    values = np.unique(column.to_numpy())
    if len(values) > _MOST_VALUES:
        raise SpecError(
            f"data.inputs has the column {column.name!r} of {len(values):,} different words, more "
            f"than {_MOST_VALUES:,}; leave it out, or give numbers in its place"
        )
    return values


def _one_hot(column: "pd.Series[Any]", words: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    features = np.zeros((len(column), len(words)), np.float32)
    features[np.arange(len(column)), np.searchsorted(words, column.to_numpy())] = 1
    return features


def _numbers(column: "pd.Series[Any]") -> npt.NDArray[np.float32]:
    if not is_number(column.dtype):
        raise _unfit(str(column.name), column.dtype)
    return column.to_numpy().astype(np.float32)


def _unfit(name: str, kind: Any) -> SpecError:
    return SpecError(
        f"the column {name!r} of data.uri is of type {kind}; it must hold numbers or words: leave "
        "it out of data.inputs, or make numbers of it"
    )
