"""Tables in CSV and Parquet files, whose columns have names."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError, require, unknown
from raydl.data.arrays import as_owners
from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_official
from raydl.data.frames import check_complete, is_number

if TYPE_CHECKING:
    import pandas as pd

_MOST_VALUES = 1000  # of a column of words, or of a target that is taken for classes


@dataclass(frozen=True)
class Table(Source):
    """Rows of a CSV or Parquet file, on any file system that pyarrow opens.

    Columns of numbers become features as they are, float32, standardized by the mean and the
    standard deviation of the training rows. A column of words becomes a feature for each of its
    words, in alphabetical order, which is 1 where the word stands and 0 elsewhere (one-hot). A
    target of floating-point numbers is a number; of words, yes and no, or integers it is a class,
    numbered in their order. Missing values are refused.

    Args:
        uri: path of the file, or a URI such as s3://bucket/table.parquet.
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

    def load(self) -> Dataset:
        """Reads the file.

        Raises:
            SpecError: if it cannot be read, has no such columns, or has missing values.
        """
        import pandas as pd

        frame = _read(self.uri, "data.uri")
        inputs = self._inputs(frame)
        owners = None if self.owner is None else _select(frame, [self.owner], "data.uri")
        parts = [_select(frame, [*inputs, *self._targets], "data.uri")]
        if self.test_uri is not None:
            test = _read(self.test_uri, "data.test_uri")
            parts.append(_select(test, [*inputs, *self._targets], "data.test_uri"))
        rows = pd.concat(parts, ignore_index=True)
        features, numbers = _features(rows[inputs])
        targets, classes = self._encode_targets(rows)
        whole = Split(features, targets)
        every = Dataset(
            name=PurePath(self.uri.partition("?")[0]).stem,
            train=whole,
            validation=whole.none(),
            test=whole.none(),
            classes=classes,
            owners=None if owners is None else as_owners("data.owner", owners[self.owner]),
        )
        sizes = (len(frame), 0, len(rows) - len(frame))
        dataset = split_official(every, sizes, self.validation, self.test, self.split_seed)
        return _standardize(dataset, numbers) if self.standardize else dataset

    def _inputs(self, frame: "pd.DataFrame") -> list[str]:
        """The columns that are inputs."""
        if self.inputs is not None:
            return [*self.inputs]
        inputs = [name for name in map(str, frame) if name not in (*self._targets, self.owner)]
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


def _read(uri: str, field: str) -> "pd.DataFrame":
    """The rows of a file."""
    from pyarrow import ArrowException, csv, parquet

    from raydl.storage import Folder

    readers: dict[str, Callable[..., Any]] = {
        ".csv": lambda file: csv.read_csv(
            file, convert_options=csv.ConvertOptions(strings_can_be_null=True)
        ),
        ".parquet": parquet.read_table,
    }
    place = Folder(uri, field)
    suffix = PurePath(place.name).suffix.lower()
    require(suffix in readers, field, uri, "a file .csv or .parquet")
    try:
        with Folder(place.parent, field).reading(place.name) as file:
            frame: pd.DataFrame = readers[suffix](file).to_pandas()
    except (OSError, ArrowException) as error:
        raise SpecError(f"{field} is {uri!r}, which cannot be read: {error}") from error
    require(len(frame) > 0, f"the number of rows in {field}", len(frame), "1 or more")
    return frame


def _select(frame: "pd.DataFrame", names: Sequence[str], field: str) -> "pd.DataFrame":
    """Some columns, each of which must be there once, in all rows."""
    for name in names:
        if name not in frame:
            raise unknown(f"column of {field}", name, map(str, frame.columns))
    selected = frame[[*names]]
    twice = len(selected.columns) > len(names)
    require(not twice, f"the columns of {field}", [*selected.columns], "of different names")
    check_complete(field, selected)
    return selected


def _features(columns: "pd.DataFrame") -> tuple[Tensor, npt.NDArray[np.bool_]]:
    """Features, float32 [n, F], and which of them are numbers that can be standardized, [F]."""
    from pandas.api import types

    features, numbers = [], []
    for name in columns:
        column = columns[name]
        if _holds_words(column):
            features.append(_one_hot(column))
        else:
            features.append(_numbers(column)[:, None])
        standard = not (_holds_words(column) or types.is_bool_dtype(column.dtype))
        numbers += [standard] * features[-1].shape[1]
    return torch.from_numpy(np.concatenate(features, axis=1)), np.array(numbers)


def _holds_words(column: "pd.Series[Any]") -> bool:
    import pandas as pd

    categories = isinstance(column.dtype, pd.CategoricalDtype)
    return categories or pd.api.types.is_string_dtype(column)


def _one_hot(column: "pd.Series[Any]") -> npt.NDArray[np.float32]:
    values, codes = np.unique(column.to_numpy(), return_inverse=True)
    if len(values) > _MOST_VALUES:
        raise SpecError(
            f"data.inputs has the column {column.name!r} of {len(values):,} different words, more "
            f"than {_MOST_VALUES:,}; leave it out, or give numbers in its place"
        )
    features = np.zeros((len(codes), len(values)), np.float32)
    features[np.arange(len(codes)), codes] = 1
    return features


def _numbers(column: "pd.Series[Any]") -> npt.NDArray[np.float32]:
    if not is_number(column.dtype):
        raise SpecError(
            f"the column {column.name!r} of data.uri is of type {column.dtype}; it must hold "
            "numbers or words: leave it out of data.inputs, or make numbers of it"
        )
    return column.to_numpy().astype(np.float32)


def _standardize(dataset: Dataset, numbers: npt.NDArray[np.bool_]) -> Dataset:
    """The data set with the mean and the deviation of those features that are numbers."""
    inputs = dataset.train.inputs
    assert isinstance(inputs, Tensor)
    chosen = torch.from_numpy(numbers)
    std, mean = torch.std_mean(inputs.double(), 0, correction=0)
    std = std.where(std > 0, 1.0)  # of a constant there is nothing to divide by
    return replace(
        dataset, mean=mean.where(chosen, 0.0).float(), std=std.where(chosen, 1.0).float()
    )
