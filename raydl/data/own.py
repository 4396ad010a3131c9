"""The user's own sources, partitions and participations: functions, and what they may give."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import TensorDataset

from raydl.core.errors import SpecError, brief
from raydl.data.dataset import Dataset, Source
from raydl.data.partitions.partition import Partition
from raydl.data.sources.tensors import Tensors


@dataclass(frozen=True)
class SourceFunction:
    """A source that is a function: () -> a Dataset, Tensors or (x, y)."""

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


def as_tensors(given: Any) -> Any:
    """``(x, y)`` and a ``TensorDataset`` of two tensors as `Tensors`; anything else as it is."""
    if isinstance(given, TensorDataset):
        given = given.tensors
    if isinstance(given, tuple | list) and len(given) == 2:
        return Tensors(*given)
    return given


def load_dataset(source: Source) -> Dataset:
    """The data set of a source, which may give it as Tensors or (x, y).

    Raises:
        SpecError: if it gives anything else, or cannot be loaded.
    """
    given = source.load()
    found = as_tensors(given)
    found = found.load() if isinstance(found, Tensors) else found
    if isinstance(found, Dataset):
        return found
    raise SpecError(
        f"data.load() gave {brief(given)}; it must give a raydl.data.Dataset, Tensors or (x, y)"
    )
