"""Every byte of a folder compared with what was written."""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from raydl.data.prepared.layout import PARTS, ShardFile
from raydl.data.prepared.mapping import PreparedFolder, usable

if TYPE_CHECKING:
    from raydl.storage import Folder

_PIECE = 1 << 24  # bytes in memory


class Verdict(NamedTuple):
    """Of a shard.

    Attributes:
        shard: what was written.
        fault: in what the file differs; None if in nothing.
    """

    shard: ShardFile
    fault: str | None


def verify(uri: str) -> Iterator[Verdict]:
    """Reads the shards of a folder one after the other, where they are.

    Raises:
        SpecError: if no data set was prepared there.
    """
    prepared = PreparedFolder(uri, cache="")
    for part in PARTS:
        for shard in prepared.manifest.parts[part].shards:
            with usable(uri):
                yield Verdict(shard, _fault(prepared.folder, shard))


def _fault(folder: "Folder", shard: ShardFile) -> str | None:
    if not folder.has(shard.file):
        return "is missing"
    digest, length = hashlib.sha256(), 0
    with folder.reading(shard.file) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            length += len(piece)
    if length != shard.bytes:
        return f"has {length} bytes, but {shard.bytes} were written"
    return None if digest.hexdigest() == shard.sha256 else "is not what was written"
