"""A data set as Parquet on any file system that pyarrow opens: prepared once, read from there.

A folder holds ``train.parquet``, ``validation.parquet`` and ``test.parquet``. A row is a sample:
its input as raw little-endian bytes, its target, and in ``train`` its owner where there are owners.
The schema's metadata has the rest as JSON under the key ``raydl``: shapes, types, classes,
normalization, and a digest of all the samples. Nothing is pickled.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.data.dataset import Dataset, Source, Split
from raydl.data.own import load_dataset

if TYPE_CHECKING:
    from pyarrow import Array

    from raydl.storage import Folder

_PARTS = ("train", "validation", "test")
_KEY = b"raydl"
_CHUNK = 1 << 26  # bytes of inputs in a row group, and what is read at a time


@dataclass(frozen=True)
class Parquet(Source):
    """A data set that `raydl.data.prepare` wrote as Parquet, read back bit by bit.

    Args:
        uri: folder of the files: a path, or a URI such as s3://bucket/folder or gs://bucket/folder.
    """

    uri: str

    def __post_init__(self) -> None:
        require(bool(self.uri), "data.uri", self.uri, "a path or a URI")

    def load(self) -> Dataset:
        """Reads the files of the folder.

        Raises:
            SpecError: if they are missing, damaged, or not of one and the same data set.
        """
        folder = _folder(self.uri)
        with _usable(self.uri):
            stored = [_read_metadata(folder, part) for part in _PARTS]
            about = stored[0]
            if any(each != about for each in stored):
                raise ValueError("its files are of different data sets")
            columns = [
                _read(folder, part, about["columns"], rows)
                for part, rows in zip(_PARTS, about["rows"], strict=True)
            ]
            if _digest(columns) != about["digest"]:
                raise ValueError("its samples are not those that were written")
        train, validation, test = (Split(each["input"], each["target"]) for each in columns)
        return Dataset(
            name=about["name"],
            train=train,
            validation=validation,
            test=test,
            classes=about["classes"],
            mean=_optional_tensor(about["mean"]),
            std=_optional_tensor(about["std"]),
            owners=columns[0].get("owner"),
        )


def prepare(source: Source | Dataset, uri: str) -> None:
    """Writes a data set as Parquet, for `Parquet` to read.

    Each file is written beside its place and then renamed, so that no half of a file is ever read.

    Args:
        source: the data set, or what loads it.
        uri: folder to write: a path, or a URI such as s3://bucket/folder or gs://bucket/folder.

    Raises:
        SpecError: if the folder cannot be written, or the source not be loaded.
    """
    folder = _folder(uri)
    folder.make()
    dataset = source if isinstance(source, Dataset) else load_dataset(source)
    mean, std = dataset.mean, dataset.std
    if isinstance(mean, dict) or isinstance(std, dict) or dataset.classes is None:
        raise _unfit(dataset)
    columns = [_columns(dataset, getattr(dataset, part)) for part in _PARTS]
    if dataset.owners is not None:
        columns[0]["owner"] = dataset.owners
    about = {
        "name": dataset.name,
        "classes": dataset.classes,
        "mean": None if mean is None else mean.tolist(),
        "std": None if std is None else std.tolist(),
        "rows": [len(each["input"]) for each in columns],
        "columns": {name: _layout(each) for name, each in columns[0].items()},
        "digest": _digest(columns),
    }
    with _usable(uri):
        for part, each in zip(_PARTS, columns, strict=True):
            _write(folder, part, each, about)


def _folder(uri: str) -> "Folder":
    from raydl.storage import Folder

    return Folder(uri, "data.uri")


@contextmanager
def _usable(uri: str) -> Iterator[None]:
    """What goes wrong with the files of a folder becomes a SpecError."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException, ValueError, KeyError) as error:
        raise SpecError(
            f"data.uri is {uri!r}, which cannot be used: {error}. It must be the path or URI of a "
            "folder that raydl.data.prepare can write, or has written"
        ) from error


def _columns(dataset: Dataset, split: Split) -> dict[str, Tensor]:
    if isinstance(split.inputs, dict):
        raise _unfit(dataset)
    return {"input": split.inputs, "target": split.targets}


def _unfit(dataset: Dataset) -> SpecError:
    return SpecError(
        f"{dataset.name} has a dictionary of inputs, or numbers for targets, which cannot be "
        "prepared as Parquet; load it as it is"
    )


def _layout(column: Tensor) -> dict[str, Any]:
    return {"type": str(column.dtype).removeprefix("torch."), "shape": list(column.shape[1:])}


def _optional_tensor(values: Any) -> Tensor | None:
    return None if values is None else torch.tensor(values, dtype=torch.float32)


def _bytes(column: Tensor) -> npt.NDArray[np.uint8]:
    """The memory of a contiguous tensor as uint8 [bytes]."""
    return column.contiguous().reshape(-1).numpy().view(np.uint8)


def _digest(columns: list[dict[str, Tensor]]) -> str:
    digest = hashlib.sha256()
    for part in columns:
        for name, column in sorted(part.items()):
            digest.update(f"{name} {len(column)} {_layout(column)}".encode())
            digest.update(_bytes(column).data)
    return digest.hexdigest()


def _row_bytes(layout: dict[str, Any]) -> int:
    dtype: torch.dtype = getattr(torch, layout["type"])
    return int(math.prod(layout["shape"])) * dtype.itemsize


def _write(folder: "Folder", part: str, columns: dict[str, Tensor], about: dict[str, Any]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    table = pa.table({name: _array(column) for name, column in columns.items()})
    with folder.writing(f"{part}.parquet") as stream:
        parquet.write_table(
            table.replace_schema_metadata({_KEY: json.dumps(about).encode()}),
            stream,
            row_group_size=_chunk_rows(about["columns"]),
            compression="zstd",
            use_dictionary=False,
            write_statistics=False,
        )


def _chunk_rows(layouts: dict[str, Any]) -> int:
    return max(1, _CHUNK // _row_bytes(layouts["input"]))


def _array(column: Tensor) -> "Array":
    """An Arrow array over a tensor's memory: numbers as they are, anything larger as bytes."""
    import pyarrow as pa

    kind = pa.int64() if column.ndim == 1 else pa.binary(_row_bytes(_layout(column)))
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(_bytes(column))])


def _read_metadata(folder: "Folder", part: str) -> dict[str, Any]:
    from pyarrow import parquet

    with folder.reading(f"{part}.parquet") as file:
        metadata = parquet.read_schema(file).metadata or {}
    if _KEY not in metadata:
        raise ValueError(f"{part}.parquet was not written by raydl")
    about: dict[str, Any] = json.loads(metadata[_KEY])
    return about


def _read(folder: "Folder", part: str, layouts: dict[str, Any], rows: int) -> dict[str, Tensor]:
    """The columns that the file has, copied a chunk at a time into tensors of their own."""
    from pyarrow import parquet

    with folder.reading(f"{part}.parquet") as file:
        table = parquet.ParquetFile(file)
        if table.metadata.num_rows != rows:
            raise ValueError(f"{part}.parquet has {table.metadata.num_rows} rows, not {rows}")
        columns = {
            name: torch.empty((rows, *layout["shape"]), dtype=getattr(torch, layout["type"]))
            for name, layout in layouts.items()
            if name in table.schema_arrow.names
        }
        start = 0
        for batch in table.iter_batches(batch_size=_chunk_rows(layouts)):
            for name, column in columns.items():
                stored = batch.column(name)
                row = _row_bytes(layouts[name])
                raw = np.frombuffer(stored.buffers()[1], np.uint8)[stored.offset * row :]
                _bytes(column[start : start + len(batch)])[:] = raw[: len(batch) * row]
            start += len(batch)
    return columns
