"""A data set, or what a source decodes, into a folder."""

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any

from torch import Tensor

from raydl.core.task import Inputs
from raydl.data.checks import check_dataset
from raydl.data.dataset import Dataset, Source, Split
from raydl.data.own import load_dataset
from raydl.data.prepared.layout import MANIFEST, PARTS, Manifest, column_of_input
from raydl.data.prepared.mapping import usable
from raydl.data.prepared.shards import ShardWriter
from raydl.data.sources.decoded import Decode, DecodedSource, deal, in_turn

if TYPE_CHECKING:
    from raydl.storage import Folder

SHARD = 1 << 28  # bytes of samples in a file
_AT_ONCE = 1 << 10  # samples


def prepare(
    source: Source | Dataset, uri: str, shard_bytes: int = SHARD, decode: Decode = in_turn
) -> None:
    """Writes a data set to a folder, for `raydl.data.Prepared` to map.

    Beside what the source has in memory, a chunk of each split is there, of 16 MB. A source may
    give tensors over mapped arrays, ``torch.from_numpy(np.load(file, mmap_mode="r"))``. One that
    decodes is never loaded whole.

    Each file is written beside its place and then renamed, and `MANIFEST`, without which the others
    are nothing, comes last.

    Args:
        source: the data set, or what loads it.
        uri: folder to write: a path, or a URI such as s3://bucket/folder or gs://bucket/folder.
        shard_bytes: bytes of samples in a file, at most.
        decode: has the pieces decoded of a source that decodes, here or on other machines.

    Raises:
        SpecError: if the folder cannot be written, or the source not be loaded.
    """
    from raydl.storage import Folder

    folder = Folder(uri, "data.uri")
    folder.make()
    if not isinstance(source, DecodedSource | Dataset):
        source = load_dataset(source)
    if isinstance(source, Dataset):
        check_dataset(source)
    with usable(uri), ExitStack() as stack:
        writers = {
            part: stack.enter_context(ShardWriter(folder, part, shard_bytes)) for part in PARTS
        }
        if isinstance(source, DecodedSource):
            dataset = deal(source, writers, decode)
        else:
            dataset = source
            for part, writer in writers.items():
                _append_all(dataset, part, writer)
        parts = {part: writer.close() for part, writer in writers.items()}
        about = (_plain(dataset.mean), _plain(dataset.std))
        _finish(folder, Manifest(dataset.name, dataset.classes, *about, parts))


def _append_all(dataset: Dataset, part: str, writer: ShardWriter) -> None:
    split: Split = getattr(dataset, part)
    inputs = {"": split.inputs} if isinstance(split.inputs, Tensor) else split.inputs
    columns = {column_of_input(name): each for name, each in inputs.items()}
    columns["target"] = split.targets
    if (owners := dataset.owners_of(part)) is not None:
        columns["owner"] = owners
    for start in range(0, max(1, len(split.targets)), _AT_ONCE):  # of none, their types
        writer.append({name: each[start : start + _AT_ONCE] for name, each in columns.items()})


def _plain(scale: Inputs | None) -> Any:
    """A mean or a deviation in values that JSON can hold."""
    if isinstance(scale, dict):
        return {name: each.tolist() for name, each in scale.items()}
    return None if scale is None else scale.tolist()


def _finish(folder: "Folder", manifest: Manifest) -> None:
    """Writes the manifest, and removes the shards of the data set that was there before."""
    before: set[str] = set()
    if folder.has(MANIFEST):
        with suppress(ValueError):  # of another version, or damaged
            before = _files(Manifest.from_json(folder.read(MANIFEST)))
    folder.write(MANIFEST, manifest.to_json())
    for name in before - _files(manifest):
        if folder.has(name):
            folder.remove(name)


def _files(manifest: Manifest) -> set[str]:
    return {shard.file for part in manifest.parts.values() for shard in part.shards}
