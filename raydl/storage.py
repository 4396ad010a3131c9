"""Folders on any file system that pyarrow opens: local paths, ``s3://``, ``gs://`` and the like."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyarrow import ArrowException, NativeFile
from pyarrow.fs import FileSelector, FileSystem, FileType, LocalFileSystem

from raydl.core.errors import SpecError


class StorageError(OSError):
    """A file could not be written, because of the file system."""


class Folder:
    """A folder whose files are written beside their place and then renamed.

    Args:
        uri: a local path, or a URI with a scheme that pyarrow knows.
        field: of the spec, which errors name.

    Raises:
        SpecError: if the URI names no file system.
    """

    def __init__(self, uri: str, field: str = "storage") -> None:
        self._field = field
        place, query = _split_uri(uri)
        self.uri = place + query
        try:
            if "://" in uri:
                self._files, path = FileSystem.from_uri(uri)
                self._path = path.rstrip("/")
            else:
                self._files, self._path = LocalFileSystem(), str(Path(uri).expanduser().absolute())
        except (ArrowException, OSError, ValueError) as error:
            raise SpecError(
                f"{field} {uri!r} cannot be opened: {error}; it must be a path, or a URI such as "
                "s3://bucket/folder"
            ) from error

    def __truediv__(self, name: str) -> "Folder":
        place, query = _split_uri(self.uri)
        return Folder(f"{place.rstrip('/')}/{name}{query}", self._field)

    @property
    def name(self) -> str:
        """The folder's own name."""
        return _split_uri(self.uri)[0].rpartition("/")[2]

    @property
    def parent(self) -> str:
        """The path or URI of the folder that this one is in."""
        place, query = _split_uri(self.uri)
        above, slash, _ = place.rpartition("/")
        return (above or slash or ".") + query

    @property
    def local(self) -> Path | None:
        """The folder as a path, if it is on this machine."""
        return Path(self._path) if isinstance(self._files, LocalFileSystem) else None

    @property
    def absolute(self) -> str:
        """What names the folder from any process: its URI, or on this machine its whole path."""
        return self.uri if self.local is None else str(self.local)

    def make(self) -> None:
        """Makes sure that the folder is there and can be written to.

        Raises:
            SpecError: if not.
        """
        try:
            self._files.create_dir(self._path, recursive=True)
            probe = f".writable-{secrets.token_hex(4)}"  # other processes may try at the same time
            self.write(probe, b"")
            self.remove(probe)
        except (ArrowException, OSError) as error:
            reason = error.__cause__ or error
            raise SpecError(
                f"{self._field} {self.uri!r} cannot be written to: {reason}; name another folder"
            ) from error

    def names(self) -> list[str]:
        """The names in the folder, sorted; none if it is not there."""
        found = self._files.get_file_info(FileSelector(self._path, allow_not_found=True))
        return sorted(each.base_name for each in found)

    def has(self, name: str) -> bool:
        """Whether there is a file or folder of that name.

        Raises:
            SpecError: if the file system does not answer.
        """
        try:
            return bool(self._files.get_file_info(f"{self._path}/{name}").type != FileType.NotFound)
        except (ArrowException, OSError) as error:
            raise SpecError(
                f"{self._field} {self.uri!r} cannot be read: {error}; name another folder"
            ) from error

    @contextmanager
    def writing(self, name: str) -> Iterator[NativeFile]:
        """A stream into a file that has its name only when the block ends without an error.

        Raises:
            StorageError: if it cannot be written.
        """
        path = f"{self._path}/{name}"
        try:
            self._files.create_dir(path.rpartition("/")[0], recursive=True)
            with self._files.open_output_stream(f"{path}.part") as stream:
                yield stream
            self._files.move(f"{path}.part", path)
        except (ArrowException, OSError) as error:
            raise StorageError(f"{self.uri}/{name} cannot be written: {error}") from error

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, so that there is never a half of it under its name."""
        with self.writing(name) as stream:
            stream.write(content)

    def reading(self, name: str) -> NativeFile:
        """A file, opened to be read from any place in it."""
        return self._files.open_input_file(f"{self._path}/{name}")

    def read(self, name: str) -> bytes:
        """A file's content."""
        with self.reading(name) as file:
            content: bytes = file.read()
        return content

    def remove(self, name: str) -> None:
        """Removes a file, or a folder and all that is in it."""
        path = f"{self._path}/{name}"
        if self._files.get_file_info(path).type == FileType.Directory:
            self._files.delete_dir(path)
        else:
            self._files.delete_file(path)


def _split_uri(uri: str) -> tuple[str, str]:
    """A path or URI without slashes at its end, and a URI's ``?query``."""
    place, query = uri, ""
    if "://" in uri:
        place, mark, query = uri.partition("?")
        query = mark + query
    return place if place.endswith("://") else place.rstrip("/") or "/", query


def find_folder(kind: str, named: str, storage: str | None, file: str) -> Folder:
    """The folder that is named by its path or URI, or by its name in the storage.

    Args:
        kind: what it is of, a run or a sweep, for the error.
        named: the name.
        storage: folder of such folders; runs by default.
        file: that it must hold.

    Raises:
        SpecError: if there is none.
    """
    folders = [Folder(named)]
    if "://" not in named:
        folders.append(Folder(storage or "runs") / named)
    for folder in folders:
        if folder.has(file):
            return folder
    tried = " or ".join(folder.uri for folder in folders)
    raise SpecError(f"there is no {kind} {named!r}: no {file} in {tried}")
