"""The user's own sources, partitions and participations: functions, and what they may give."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset as TorchData
from torch.utils.data import TensorDataset

from raydl.core.errors import SpecError, brief
from raydl.data.dataset import Dataset, Source
from raydl.data.partitions.partition import Partition
from raydl.data.sources.huggingface import HuggingFace, is_huggingface
from raydl.data.sources.tensors import Tensors
from raydl.data.sources.torch_dataset import TorchDataset
from raydl.data.transforms import Transforms, is_transform


@dataclass(frozen=True)
class SourceFunction:
    """A source that is a function: () -> a Dataset, or anything else that data may be."""

    function: Callable[[], Any]

    def load(self) -> Any:
        """What the function gives, which `load_dataset` makes a Dataset."""
        return self.function()


@dataclass(frozen=True)
class PartitionFunction:
    """A partition that is a function: (labels, clients, seed, owners) -> Partition."""

    function: Callable[..., Partition]

    def assign(
        self,
        labels: npt.NDArray[np.int64],
        clients: int,
        seed: int,
        owners: npt.NDArray[np.int64] | None = None,
    ) -> Partition:
        """What the function gives."""
        return self.function(labels, clients, seed, owners)


@dataclass(frozen=True)
class ParticipationFunction:
    """A participation that is a function: (clients, seed) -> cohorts without end."""

    function: Callable[[int, int], Iterable[npt.NDArray[np.int64]]]

    def cohorts(self, clients: int, seed: int) -> Iterator[npt.NDArray[np.int64]]:
        """What the function gives."""
        return iter(self.function(clients, seed))


FUNCTIONS = {
    "data": SourceFunction,
    "partition": PartitionFunction,
    "participation": ParticipationFunction,
}


def as_source(given: Any) -> Any:
    """The source of what may be data as it is; anything else as it is.

    That is ``(x, y)``, torch's map-style ``Dataset`` and Hugging Face's.
    """
    if isinstance(given, TensorDataset) and len(given.tensors) == 2:
        given = given.tensors
    if isinstance(given, tuple | list) and len(given) == 2:
        return Tensors(*given)
    if isinstance(given, TorchData):
        return TorchDataset(given)
    return HuggingFace(given) if is_huggingface(given) else given


def as_augmentation(given: Any) -> Any:
    """The augmentation that a transform of torchvision's is; anything else as it is."""
    return Transforms(given) if is_transform(given) else given


# By field, what brings to an object of ours what others have made.
BRING = {"data": as_source, "augmentation": as_augmentation}


def load_dataset(source: Source) -> Dataset:
    """The data set of a source, which may give it as anything that data may be.

    Raises:
        SpecError: if it gives anything else, or cannot be loaded.
    """
    given = source.load()
    found = as_source(given)
    if not isinstance(found, Dataset) and callable(getattr(found, "load", None)):
        found = found.load()
    if isinstance(found, Dataset):
        return found
    raise SpecError(
        f"data.load() gave {brief(given)}; it must give a raydl.data.Dataset, (x, y), a map-style "
        "Dataset of torch's, or a source such as Tensors"
    )
