"""Own data: any map-style torch ``Dataset``."""

from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from torch import Tensor
from torch.utils.data import ConcatDataset, IterableDataset

from raydl.core.errors import SpecError, brief, require
from raydl.data.dataset import Dataset, Source, check_fractions, split_official
from raydl.data.forms.arrays import PerChannel, as_owners, as_scale, or_none
from raydl.data.forms.reading import check_processes, read
from raydl.data.sources.tensors import Tensors


def as_map_style(name: str, given: Any) -> Any:
    """A data set that gives its samples by number.

    Raises:
        SpecError: if it does not.
    """
    methods = hasattr(given, "__len__") and hasattr(given, "__getitem__")
    if not methods or isinstance(given, IterableDataset):
        raise SpecError(
            f"{name} is {brief(given)}; it must be a map-style Dataset, with __len__ and "
            "__getitem__; of what can only be gone through, give a list of its samples"
        )
    require(len(given) > 0, f"the number of {name}'s samples", len(given), "1 or more")
    return given


def describe(given: Any) -> str | None:
    """What is told of a data set in memory, such as ``<CIFAR10 of 50000 samples>``."""
    return None if given is None else f"<{type(given).__qualname__} of {len(given)} samples>"


@dataclass(frozen=True, eq=False)
class TorchDataset(Source):
    """A map-style torch ``Dataset``, whose samples are read once, in their order, and then kept.

    A sample is a pair (input, target): tensors, arrays, numbers or images of PIL's, the input also
    a dictionary of such; they are kept as those of ``Tensors`` are, images [C, H, W]. What a
    ``Dataset`` draws when it is read is seeded, and stays: random changes of images belong into an
    augmentation.

    Args:
        dataset: samples, also a list of pairs.
        test_dataset: samples of an official test set; a fraction of the samples if there is none.
        classes: number of classes; the largest target + 1 if not given.
        owners: the natural client of each sample, integers or names [n].
        mean: subtracted from the inputs, see ``Tensors``.
        std: what the inputs are then divided by, likewise.
        validation: fraction of the samples held out for validation, stratified by class.
        test: fraction of the samples held out as the test set, if there is no official one.
        split_seed: seed of the choice of the held-out samples.
        processes: processes that read; 0 leaves it to this one. By default as many as there are
            cores, if this one would take seconds.
    """

    dataset: Annotated[Any, as_map_style] = field(metadata={"told": describe})
    test_dataset: Annotated[Any, or_none(as_map_style)] = field(
        default=None, metadata={"told": describe}
    )
    classes: int | None = None
    owners: Annotated[Tensor | None, or_none(as_owners)] = None
    mean: Annotated[PerChannel | dict[str, PerChannel] | None, as_scale] = None
    std: Annotated[PerChannel | dict[str, PerChannel] | None, as_scale] = None
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    processes: int | None = None

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)
        check_processes(self.processes)
        if self.owners is not None:
            shape, due = tuple(self.owners.shape), (len(self.dataset),)
            require(shape == due, "data.owners' shape", shape, f"{due}: one for each sample")

    def load(self) -> Dataset:
        """Reads the samples.

        Raises:
            SpecError: if one cannot be read, or they do not fit each other.
        """
        samples, parts = len(self.dataset), [self.dataset]
        if self.test_dataset is not None:
            parts.append(self.test_dataset)
        whole = parts[0] if len(parts) == 1 else ConcatDataset(parts)
        inputs, targets = read(whole, self.processes)
        every = Tensors(
            inputs,
            targets,
            classes=self.classes,
            mean=self.mean,
            std=self.std,
            validation=0,
            test=0,
            name=type(self.dataset).__name__,
        ).load()
        every = replace(every, owners=None if self.owners is None else self.owners.cpu().long())
        sizes = (samples, 0, len(targets) - samples)
        return split_official(every, sizes, self.validation, self.test, self.split_seed)
