"""A folder opened: its shards looked at, mapped, and made a data set."""

import math
import mmap
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.task import Inputs
from raydl.data.dataset import Dataset, Split
from raydl.data.prepared.cache import local_copy
from raydl.data.prepared.layout import (
    ENDS,
    MANIFEST,
    Manifest,
    Part,
    ShardFile,
    ends_of,
    inputs_of,
    merge_extremes,
)
from raydl.data.prepared.memory import fits_in_memory
from raydl.data.prepared.rows import Rows
from raydl.data.prepared.stored import Extent, StoredColumn

if TYPE_CHECKING:
    from raydl.storage import Folder


class Place(NamedTuple):
    """Where a column of mapped samples lies: all that travels of them to another process.

    Attributes:
        uri: of the folder, from any process.
        cache: folder for copies of what no machine can map, see `raydl.data.Prepared`.
        digest: of the data set.
        part: name of the split.
        column: name of the column.
    """

    uri: str
    cache: str
    digest: str
    part: str
    column: str

    def open(self) -> Tensor:
        """Maps the files in this process.

        Raises:
            SpecError: if this machine does not have them, or has others.
        """
        try:
            folder = PreparedFolder(self.uri, self.cache)
            if folder.digest != self.digest:
                raise SpecError(f"data.uri is {self.uri!r}, which holds another data set")
            return folder.map(self.part)[self.column]
        except SpecError as error:
            raise SpecError(
                f"{error}. That is so on {socket.gethostname()}, where the run has a worker: each "
                "machine maps the files itself, so name a folder that all of them share, or a URI "
                "such as s3://bucket/folder"
            ) from error


class PreparedFolder:
    """A folder that was prepared, with what its manifest says.

    Args:
        uri: of the folder: a path, or a URI that pyarrow knows.
        cache: folder on this machine for copies, if the folder is not on it.

    Raises:
        SpecError: if there is none.
    """

    def __init__(self, uri: str, cache: str) -> None:
        from raydl.storage import Folder

        self.folder, self._cache = Folder(uri, "data.uri"), cache
        with usable(uri):
            self.manifest = Manifest.from_json(_read_manifest(self.folder))
        self.digest = self.manifest.digest

    def dataset(self) -> Dataset:
        """The data set: its inputs mapped, and so its targets where those are sequences.

        Raises:
            SpecError: if a shard is missing, or is not the one that was written.
        """
        manifest, (train, owners) = self.manifest, self._split("train")
        (validation, validation_owners), (test, test_owners) = map(
            self._split, ("validation", "test")
        )
        return Dataset(
            name=manifest.name,
            train=train,
            validation=validation,
            test=test,
            classes=manifest.classes,
            mean=_scale(manifest.mean),
            std=_scale(manifest.std),
            owners=owners,
            validation_owners=validation_owners,
            test_owners=test_owners,
        )

    def _split(self, part: str) -> tuple[Split, Tensor | None]:
        """A split, and the owners of its samples."""
        mapped, columns = self.map(part), self.manifest.parts[part].columns
        inputs, target = inputs_of(mapped), columns["target"]
        sequences = target.shape and target.type == "int64"
        if not (sequences and target in inputs_of(columns).values()):
            mapped["target"] = mapped["target"][:]
        owners = mapped["owner"][:] if "owner" in mapped else None
        return Split(inputs.get("", inputs), mapped["target"]), owners

    def map(self, part: str) -> dict[str, Tensor]:
        """The columns of a split, by name: `Rows`; or where there are none, empty tensors.

        Raises:
            SpecError: see `dataset`.
        """
        with usable(self.folder.uri):
            home, split = self._home(), self.manifest.parts[part]
            files = [_map_file(home / shard.file, shard) for shard in split.shards]
            extents = [_extents(file, split, number) for number, file in enumerate(files)]
        if not files:
            return {
                name: torch.empty((0, *column.shape), dtype=column.dtype)
                for name, column in split.columns.items()
            }
        return {
            name: Rows(
                StoredColumn(
                    Place(self.folder.absolute, self._cache, self.digest, part, name),
                    column,
                    files,
                    [extent for each in extents for extent in each[name]],
                    _extremes(split, name),
                    fits=fits_in_memory(self.manifest.nbytes),
                )
            )
            for name, column in split.columns.items()
        }

    def _home(self) -> Path:
        """Where on this machine the shards are."""
        return self.folder.local or local_copy(
            self.folder, self.manifest, Path(self._cache).expanduser() / self.digest
        )


@contextmanager
def usable(uri: str) -> Iterator[None]:
    """What goes wrong with the files of a folder becomes a SpecError."""
    from pyarrow import ArrowException

    try:
        yield
    except (OSError, ArrowException, ValueError, KeyError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(
            f"data.uri is {uri!r}, which cannot be used: {error}. It must be the path or URI of a "
            "folder that `raydl data prepare` can write, or has written"
        ) from error


def _read_manifest(folder: "Folder") -> bytes:
    if not folder.has(MANIFEST):
        if folder.has("train.parquet"):
            raise ValueError("an older raydl prepared it, as Parquet; prepare it anew")
        raise ValueError(f"it has no {MANIFEST}")
    return folder.read(MANIFEST)


def _map_file(path: Path, shard: ShardFile) -> mmap.mmap:
    """A shard in memory as it lies on disk, read-only; nothing but its ends is read."""
    if not path.exists():
        raise ValueError(f"its {shard.file} is missing")
    with path.open("rb") as file:
        length = path.stat().st_size
        if length != shard.bytes:
            raise ValueError(f"its {shard.file} has {length} bytes, but {shard.bytes} were written")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if ends_of(mapped[:ENDS], mapped[-ENDS:]) != shard.ends:
        raise ValueError(f"its {shard.file} is not what was written: another one's, or changed")
    return mapped


def _extents(file: mmap.mmap, part: Part, number: int) -> dict[str, list[Extent]]:
    """Where in a mapped file the samples of each column lie."""
    import pyarrow as pa

    whole = pa.py_buffer(file)
    reader = pa.ipc.open_file(pa.BufferReader(whole))
    found: dict[str, list[Extent]] = {name: [] for name in part.columns}
    for at in range(reader.num_record_batches):
        batch = reader.get_batch(at)
        for name, extents in found.items():
            numbers = batch.column(name).buffers()[-1]
            extents.append(Extent(number, numbers.address - whole.address, len(batch)))
    return found


def _extremes(part: Part, name: str) -> list[list[int]]:
    """The extremes of a column over all of its shards; none if they are not written down."""
    before, several = 0, []
    for shard in part.shards:
        found = shard.extremes.get(name, [])
        several.append([[number, before + at] for number, at in found])
        before += shard.rows * math.prod(part.columns[name].shape)
    return merge_extremes(several)


def _scale(values: Any) -> Inputs | None:
    """A mean or a deviation, as it was before it was written."""
    if isinstance(values, dict):
        return {name: torch.tensor(each, dtype=torch.float32) for name, each in values.items()}
    return None if values is None else torch.tensor(values, dtype=torch.float32)
