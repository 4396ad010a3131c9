"""A data set that was prepared: mapped, not read."""

from dataclasses import dataclass

from raydl.core.errors import require
from raydl.data.dataset import Dataset, Source
from raydl.data.prepared.mapping import PreparedFolder


@dataclass(frozen=True)
class Prepared(Source):
    """A data set that `raydl.data.prepare` wrote, mapped into memory as it is trained on.

    What is asked for is read, and kept while there is memory: the data may be larger than that.
    All processes of a machine share what is kept. On a cluster each machine maps the files itself,
    so all of them must have the folder, or reach it by a URI.

    Args:
        uri: folder of the files: a path, or a URI such as s3://bucket/folder or gs://bucket/folder.
        cache: folder of this machine, and of each of a cluster, to which files are copied once that
            are not on it, since nobody can map those of a bucket.
    """

    uri: str
    cache: str = "~/.cache/raydl"

    def __post_init__(self) -> None:
        require(bool(self.uri), "data.uri", self.uri, "a path or a URI")
        require(bool(self.cache), "data.cache", self.cache, "a folder")

    def load(self) -> Dataset:
        """Maps the files of the folder.

        Raises:
            SpecError: if they are missing, or are not those that were written.
        """
        return PreparedFolder(self.uri, self.cache).dataset()
