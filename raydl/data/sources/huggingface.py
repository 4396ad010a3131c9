"""Data sets of Hugging Face's ``datasets``, from memory or from this machine's disk."""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from torch.utils.data import Dataset as MapStyle

from raydl.core.environment.extras import check_huggingface
from raydl.core.errors import SpecError, brief, require, unknown
from raydl.data.dataset import Dataset, Source, check_fractions, split_official
from raydl.data.forms.arrays import as_owners, or_none
from raydl.data.forms.reading import check_processes, read
from raydl.data.sources.tensors import Tensors

_PARTS = ("train", "validation", "test")  # of a DatasetDict


def is_huggingface(given: Any) -> bool:
    """Whether something is a ``datasets.Dataset`` or a ``datasets.DatasetDict``."""
    module = sys.modules.get("datasets")
    return module is not None and isinstance(given, module.Dataset | module.DatasetDict)


def as_rows(name: str, given: Any) -> Any:
    """The path of a data set on disk, or the data set itself.

    Raises:
        SpecError: if it is neither, or a dictionary without a part for training.
    """
    if isinstance(given, str | os.PathLike):
        path = os.fspath(given)
        require(
            bool(path) and "://" not in path, name, path, "the path of a folder on this machine"
        )
        return path
    if not is_huggingface(given):
        raise SpecError(
            f"{name} is {brief(given)}; it must be a datasets.Dataset, a datasets.DatasetDict, or "
            "the path of a folder that save_to_disk wrote"
        )
    if isinstance(given, Mapping):
        require("train" in given, f"the parts of {name}", [*given], "train and others")
    return given


def _describe(given: Any) -> str:
    """What is told of a data set in memory, such as ``<Dataset of 100 samples>``."""
    if isinstance(given, str):
        return given
    samples = sum(map(len, given.values())) if isinstance(given, Mapping) else len(given)
    return f"<{type(given).__qualname__} of {samples} samples>"


@dataclass(frozen=True, eq=False)
class HuggingFace(Source):
    """Rows of Hugging Face's datasets: a Dataset, or a DatasetDict that may have official parts.

    Those are train, validation and test. Nothing is downloaded. Columns are read once, and kept as
    arrays of ``Tensors`` are: numbers, lists of them, also of unequal length, and images. Several
    inputs come to the model as keyword arguments, by the names of their columns.

    Args:
        dataset: path of a folder that save_to_disk wrote; from Python also the data set itself.
        target: name of the column to predict.
        inputs: names of the columns to predict it from; all others by default.
        owner: name of the column that says whose a row is, its natural client.
        validation: fraction of the rows held out for validation, if there are none; stratified by
            class.
        test: fraction of the rows held out as the test set, if there is none.
        split_seed: seed of the choice of the held-out rows.
        processes: number of processes that read; 0 leaves it to this one. By default as many as
            there are cores, if this one would take seconds.
    """

    dataset: Annotated[str, as_rows] = field(metadata={"told": _describe})
    target: str = "label"
    inputs: tuple[str, ...] | None = None
    owner: str | None = None
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    processes: int | None = None

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)
        check_processes(self.processes)
        given = self.inputs
        require(given is None or len(given) > 0, "data.inputs", given, "one name or more")

    def load(self) -> Dataset:
        """Reads the rows.

        Raises:
            SpecError: if there are none, they have no such columns, or one cannot be read.
        """
        check_huggingface("data HuggingFace")
        from datasets import concatenate_datasets

        train, *others = self._parts()
        require(len(train) > 0, "the number of data.dataset's training rows", 0, "1 or more")
        owners = None if self.owner is None else _select(train, [self.owner])[self.owner][:]
        inputs = self._inputs(train)
        chosen = [_select(each, [*inputs, self.target]) for each in (train, *others)]
        try:
            rows = concatenate_datasets(chosen)
        except ValueError as error:
            raise SpecError(
                f"the parts of data.dataset have columns that differ: {error}"
            ) from error
        _check_numbers(rows, self.target)
        arrays, targets = read(_Pairs(rows, inputs, self.target), self.processes)
        classes = getattr(rows.features[self.target], "num_classes", None)
        kept = Tensors(arrays, targets, classes=classes, validation=0, test=0, name="HuggingFace")
        every = replace(kept.load(), owners=or_none(as_owners)("data.owner", owners))
        sizes = [*map(len, chosen)]
        return split_official(every, sizes, self.validation, self.test, self.split_seed)

    def _parts(self) -> list[Any]:
        """The rows for training, for validation and for the test; those that are missing, empty."""
        from datasets import load_from_disk

        found: Any = self.dataset
        if isinstance(found, str):
            try:
                found = load_from_disk(found)
            except (OSError, ValueError) as error:
                raise SpecError(
                    f"data.dataset is {self.dataset!r}, which cannot be read: {error}; it must be "
                    "a folder that save_to_disk wrote"
                ) from error
            found = as_rows("data.dataset", found)
        if not isinstance(found, Mapping):
            found = {"train": found}
        return [found.get(part, found["train"].select([])) for part in _PARTS]

    def _inputs(self, rows: Any) -> list[str]:
        """The columns that are inputs."""
        if self.inputs is not None:
            return [*self.inputs]
        inputs = [name for name in rows.features if name not in (self.target, self.owner)]
        require(len(inputs) > 0, "data.inputs", inputs, "one column or more beside the target")
        return inputs


def _select(rows: Any, names: Sequence[str]) -> Any:
    """Some columns."""
    for name in names:
        if name not in rows.features:
            raise unknown("column of data.dataset", name, rows.features)
    return rows.select_columns([*names])


def _check_numbers(rows: Any, target: str) -> None:
    """Raises a SpecError that tells what to do about columns of words."""
    for name, feature in rows.features.items():
        if getattr(feature, "dtype", None) in ("string", "large_string"):
            how = f"class_encode_column({name!r})" if name == target else "map(...) by a tokenizer"
            raise SpecError(
                f"data.dataset's column {name!r} holds words; make numbers of them, by {how}, or "
                "leave it out of data.inputs"
            )


class _Pairs(MapStyle[tuple[Any, Any]]):
    """Rows as pairs of inputs and target, several at once."""

    def __init__(self, rows: Any, inputs: Sequence[str], target: str) -> None:
        self._rows, self._inputs, self._target = rows, inputs, target

    def __len__(self) -> int:
        return len(self._rows)

    def __getitems__(self, numbers: list[int]) -> list[tuple[Any, Any]]:
        columns = self._rows[numbers]
        if len(self._inputs) == 1:
            inputs = columns[self._inputs[0]]
        else:
            rows = zip(*(columns[name] for name in self._inputs), strict=True)
            inputs = [dict(zip(self._inputs, row, strict=True)) for row in rows]
        return [*zip(inputs, columns[self._target], strict=True)]
