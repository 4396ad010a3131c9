"""What a prepared folder holds: shards of samples, and ``dataset.json``, which tells of them.

A shard, such as ``train-00003.arrow``, is an uncompressed Arrow IPC file (Feather version 2). A row
is a sample: its ``input``, or of several ``input.NAME`` for each; its ``target``; and in ``train``
its ``owner`` where there are owners. A column of single numbers holds them as they are; one of
larger samples is a list of fixed size, of their numbers in row-major order, with their shape in the
field's metadata. So numbers lie in the file as they lie in memory, and everyone who knows Arrow
reads them. Nothing is pickled.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import require
from raydl.data.dataset import PADDING

if TYPE_CHECKING:
    import pyarrow as pa

PARTS = ("train", "validation", "test")
MANIFEST = "dataset.json"
ENDS = 1 << 14  # bytes at either end of a shard that are looked at whenever it is opened
_FORMAT = 1
_TYPES = ("uint8", "int8", "int16", "int32", "int64", "float16", "float32", "float64")


@dataclass(frozen=True)
class Column:
    """What one sample has in a column.

    Args:
        type: of its numbers, by torch's name and numpy's.
        shape: of the sample; () for a single number.
    """

    type: str
    shape: tuple[int, ...]

    @classmethod
    def of(cls, name: str, samples: Tensor) -> "Column":
        """The column that holds samples [n, ...].

        Raises:
            SpecError: if no file can hold numbers of that type so that they can be mapped.
        """
        kind = str(samples.dtype).removeprefix("torch.")
        require(kind in _TYPES, f"the type of data's {name}s", kind, f"one of {', '.join(_TYPES)}")
        return cls(kind, tuple(samples.shape[1:]))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers."""
        kind: torch.dtype = getattr(torch, self.type)
        return kind

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return math.prod(self.shape) * self.dtype.itemsize

    def arrow_field(self, name: str) -> "pa.Field":
        """The column in an Arrow schema."""
        import pyarrow as pa

        kind = pa.from_numpy_dtype(self.type)
        if not self.shape:
            return pa.field(name, kind, nullable=False)
        lists = pa.list_(pa.field("item", kind, nullable=False), math.prod(self.shape))
        about = {"shape": json.dumps(self.shape)}
        return pa.field(name, lists, nullable=False, metadata=about)

    def arrow_array(self, samples: npt.NDArray[Any]) -> "pa.Array":
        """Samples [n, ...] as an Arrow array over their memory."""
        import pyarrow as pa

        flat = pa.array(samples.reshape(-1))
        kind = self.arrow_field("").type
        return pa.FixedSizeListArray.from_arrays(flat, type=kind) if self.shape else flat


@dataclass(frozen=True)
class ShardFile:
    """One file.

    Args:
        file: its name.
        rows: samples in it.
        bytes: its length.
        sha256: digest of all of it.
        ends: digest of its first and its last bytes, `ENDS` of each.
        extremes: of columns of int64, its smallest and its largest number but for -100, which only
            fills sequences up, each with the place of the first such in row-major order; [] if
            there are none.
    """

    file: str
    rows: int
    bytes: int
    sha256: str
    ends: str
    extremes: dict[str, list[list[int]]] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """The files of a split.

    Args:
        columns: what a row has, by name.
        shards: the files, in the order of the samples.
    """

    columns: dict[str, Column]
    shards: list[ShardFile]

    @property
    def rows(self) -> int:
        """Samples of the split."""
        return sum(shard.rows for shard in self.shards)


@dataclass(frozen=True)
class Manifest:
    """What ``dataset.json`` says of a data set.

    Args:
        name: of the data set.
        classes: number of classes; None where targets are numbers.
        mean: what is subtracted from inputs, see `raydl.data.Dataset`, in lists; None for nothing.
        std: what they are then divided by.
        parts: its splits, by name.
    """

    name: str
    classes: int | None
    mean: Any
    std: Any
    parts: dict[str, Part]

    @property
    def nbytes(self) -> int:
        """Bytes of all the shards."""
        return sum(shard.bytes for part in self.parts.values() for shard in part.shards)

    @property
    def digest(self) -> str:
        """What identifies the data set: it depends on all that is said here, and so on all data."""
        return hashlib.sha256(json.dumps(asdict(self)).encode()).hexdigest()

    def to_json(self) -> bytes:
        """The file's content."""
        about = {"format": _FORMAT, "digest": self.digest, "dataset": asdict(self)}
        return json.dumps(about, indent=1).encode()

    @classmethod
    def from_json(cls, content: bytes) -> "Manifest":
        """The manifest that a file holds.

        Raises:
            ValueError: if it holds none, or that of another version of raydl.
        """
        try:
            about = json.loads(content)
            if about["format"] != _FORMAT:
                raise ValueError(f"{MANIFEST} is of another version of raydl; prepare it anew")
            dataset = about["dataset"]
            parts = {
                name: Part(
                    {
                        column: Column(each["type"], tuple(each["shape"]))
                        for column, each in part["columns"].items()
                    },
                    [ShardFile(**shard) for shard in part["shards"]],
                )
                for name, part in dataset["parts"].items()
            }
            manifest = cls(**dataset | {"parts": parts})
            right = manifest.digest == about["digest"]
        except (KeyError, TypeError, AttributeError, UnicodeError, json.JSONDecodeError) as error:
            raise ValueError(f"{MANIFEST} is damaged ({error!r})") from error
        if not right:
            raise ValueError(f"{MANIFEST} is damaged: its digest is another")
        return manifest


def column_of_input(name: str) -> str:
    """The column of an input of that name; of one that has none, of that name."""
    return f"input.{name}" if name else "input"


def inputs_of(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the columns that hold inputs, by the inputs' names."""
    return {
        name.removeprefix("input").removeprefix("."): each
        for name, each in columns.items()
        if name == "input" or name.startswith("input.")
    }


def ends_of(head: bytes, tail: bytes) -> str:
    """The digest of a shard's first and last bytes, `ENDS` of each or all that there are."""
    return hashlib.sha256(head + tail).hexdigest()


def extremes_of(samples: npt.NDArray[Any], start: int) -> list[list[int]]:
    """The smallest and the largest of numbers, each with the place of the first such.

    What only fills a sequence up does not count; where there is nothing else, they are none.

    Args:
        samples: of a file, from some place on.
        start: that place.
    """
    flat = samples.reshape(-1)
    places = np.flatnonzero(flat != PADDING)
    if not len(places):
        return []
    found = places[[flat[places].argmin(), flat[places].argmax()]]
    return [[int(flat[place]), start + int(place)] for place in found]


def merge_extremes(several: Iterable[list[list[int]]]) -> list[list[int]]:
    """The extremes of all of some files' or chunks' numbers, of the extremes of each, in order."""
    pairs = [each for each in several if each]
    if not pairs:
        return []
    return [
        min((low for low, _ in pairs), key=lambda pair: pair[0]),
        max((high for _, high in pairs), key=lambda pair: pair[0]),
    ]
