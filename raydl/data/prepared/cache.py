"""The shards of a bucket on this machine, copied once for all of its processes."""

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from raydl.data.prepared.layout import Manifest, ShardFile

if TYPE_CHECKING:
    from raydl.storage import Folder

_PIECE = 1 << 24  # bytes in memory as a shard is copied


def local_copy(folder: "Folder", manifest: Manifest, home: Path) -> Path:
    """Copies those shards that are not there yet; other processes wait for who is at it.

    Args:
        folder: where the shards are.
        manifest: what they are.
        home: where to, of this data set alone.

    Raises:
        OSError: if they cannot be written.
        ValueError: if there is no room for them, or they are not what was written.
    """
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home / "lock"):
        shards = [shard for part in manifest.parts.values() for shard in part.shards]
        missing = [shard for shard in shards if not _is_there(home, shard)]
        needed, free = sum(shard.bytes for shard in missing), shutil.disk_usage(home).free
        if needed > free:
            raise ValueError(
                f"copies of its shards need {needed / 1e9:.1f} GB in {home}, where {free / 1e9:.1f}"
                " are free; set data.cache to a folder of a larger disk"
            )
        for shard in missing:
            _copy(folder, shard, home)
    return home


def _is_there(home: Path, shard: ShardFile) -> bool:
    path = home / shard.file
    return path.exists() and path.stat().st_size == shard.bytes


def _copy(folder: "Folder", shard: ShardFile, home: Path) -> None:
    digest, unfinished = hashlib.sha256(), home / f"{shard.file}.part"
    with folder.reading(shard.file) as source, unfinished.open("wb") as copy:
        while piece := source.read(_PIECE):
            digest.update(piece)
            copy.write(piece)
    if digest.hexdigest() != shard.sha256:
        raise ValueError(f"its {shard.file} is not what was written")
    unfinished.rename(home / shard.file)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lets one process in at a time."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
