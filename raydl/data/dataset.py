"""A data set held in memory as tensors, and its stratified split."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.spec import Spec
from raydl.core.task import Inputs

PADDING = -100  # in the place of a class: of what only fills a shorter sequence up
Shape: TypeAlias = tuple[int, ...]
SampleShape: TypeAlias = Shape | dict[str, Shape]  # of one input, or of each by its name


class Split(NamedTuple):
    """One part of a data set: n samples and what is to be predicted of them.

    Attributes:
        inputs: an array [n, ...] of any shape, or a dictionary of such arrays, which are the
            model's keyword arguments. Arrays of four dimensions are images, uint8 or float32
            [n, H, W, C], always channels last, so that a gathered batch permuted to [B, C, H, W]
            has torch's ``channels_last`` layout for free. Others are float32 (or uint8) numbers,
            or int64: tokens, which stay what they are.
        targets: classes, int64 [n], or [n, ...] where a sample has many, with -100 in the place of
            those that only fill it up; or float32 numbers [n] or [n, ...].
    """

    inputs: Inputs
    targets: Tensor

    def map(self, function: Callable[[Tensor], Tensor]) -> "Split":
        """The split with a function applied to each array of it."""
        return Split(tree.map(function, self.inputs), function(self.targets))

    def take(self, indices: Tensor | slice) -> "Split":
        """The samples at ``indices``, copied; of a slice a view."""
        return self.map(lambda each: each[indices])

    def none(self) -> "Split":
        """An empty part of the same kind."""
        return self.take(torch.empty(0, dtype=torch.int64))

    def pieces(self, size: int) -> Iterator["Split"]:
        """The samples in their order, at most ``size`` at a time."""
        for start in range(0, len(self.targets), size):
            yield self.take(slice(start, start + size))

    def labels(self) -> npt.NDArray[np.int64] | None:
        """The class of each sample, int64 [n]; None where targets are numbers, or many."""
        one = self.targets.ndim == 1 and not self.targets.is_floating_point()
        return self.targets.numpy() if one else None


def holds_images(stored: Tensor) -> bool:
    """Whether an array of samples, as it is stored, is one of images [n, H, W, C]."""
    return stored.ndim == 4 and stored.dtype != torch.int64


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test samples, and what a model must know of them.

    Args:
        name: what tables and figures call it.
        train: the samples that clients own.
        validation: held-out samples that tuning may look at; may be empty.
        test: held-out samples that are scored at the end; may be empty.
        classes: number of classes; None where targets are numbers.
        mean: what is subtracted from the inputs, float32 [C] for images, [] or [F] for features,
            in units of the stored inputs: 0 to 255 for uint8. None for no normalization; of a
            dictionary of inputs a dictionary, with those that are normalized.
        std: what the inputs are then divided by, of the same shapes and in the same units.
        owners: the natural client of each training sample, int64 [n]; None where there is none.
        validation_owners: likewise of the validation samples.
        test_owners: likewise of the test samples, some of whom may own no training sample.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int | None
    mean: Inputs | None = None
    std: Inputs | None = None
    owners: Tensor | None = None
    validation_owners: Tensor | None = None
    test_owners: Tensor | None = None

    @property
    def shape(self) -> SampleShape:
        """The shape of one sample as the model sees it: (C, H, W), (F,), (T,) and so on."""
        inputs = self.train.inputs
        if isinstance(inputs, dict):
            return {name: _seen_shape(each) for name, each in inputs.items()}
        return _seen_shape(inputs)

    def owners_of(self, part: str) -> Tensor | None:
        """The owners of the samples of ``train``, ``validation`` or ``test``, int64 [n]."""
        owners: Tensor | None = getattr(self, "owners" if part == "train" else f"{part}_owners")
        return owners


def _seen_shape(stored: Tensor) -> Shape:
    sample = tuple(stored.shape[1:])
    return (sample[2], *sample[:2]) if holds_images(stored) else sample


class Source(Spec, ABC, field="data"):
    """A spec that names a data set and can load it.

    An own one need not be a subclass: an object with ``load``, or a function, is one, and may give
    whatever else data may be, such as (x, y), as well.
    """

    @abstractmethod
    def load(self) -> Dataset:
        """Reads, downloads or makes the data set.

        Raises:
            SpecError: if it cannot be had as described.
        """


def split_stratified(
    whole: Dataset, validation: float, test: float = 0.0, split_seed: int = 0
) -> Dataset:
    """Cuts validation, and if asked test, out of the training samples of a data set.

    The parts have ``round(fraction * n)`` samples, to which each class gives its share, rounded.
    Within a part samples stay in their order. Who goes where is a pure function of the labels and
    the seed. Samples without a class of their own, whose targets are numbers or many, are split at
    random.

    Args:
        whole: all samples in ``train``, with an official ``test`` set where there is one.
        validation: fraction of the n training samples to hold out; 0 leaves them as they are.
        test: fraction to hold out as the test set; 0 keeps the test set of ``whole``.
        split_seed: seed of the choice within each class.

    Returns:
        The data set with its samples, and its owners, divided.

    Raises:
        SpecError: if the fractions leave nothing to train on.
    """
    check_fractions(validation, test)
    n, labels = len(whole.train.targets), whole.train.labels()
    labels = np.zeros(n, np.int64) if labels is None else labels
    shuffled = np.random.default_rng(split_seed).permutation(n)
    rest = shuffled[np.argsort(labels[shuffled], kind="stable")]
    parts: dict[str, Any] = {}
    for name, fraction in (("test", test), ("validation", validation)):
        if fraction:
            chosen, rest = _spread(rest, round(fraction * n))
            parts[name] = whole.train.take(chosen)
            parts[f"{name}_owners"] = _some(whole.owners, chosen)
    require(len(rest) > 0, "data.validation", validation, f"smaller: it takes all {n} samples")
    if not (validation or test):
        return whole
    kept = torch.from_numpy(np.sort(rest))
    return replace(whole, train=whole.train.take(kept), owners=_some(whole.owners, kept), **parts)


def split_official(
    every: Dataset, sizes: Sequence[int], validation: float, test: float, split_seed: int = 0
) -> Dataset:
    """Cuts samples into the parts that they came in, and cuts out of the first what did not come.

    Args:
        every: all samples, in ``train``, one part after the other; each has an owner, or those of
            the first part alone, or none.
        sizes: samples for training, for validation and for the test; 0 of a part that is missing.
        validation: fraction of the training samples to hold out, if no others came.
        test: likewise for the test set.
        split_seed: seed of their choice, see `split_stratified`.
    """
    first, second = sizes[0], sizes[0] + sizes[1]
    owners = every.owners
    of_held_out = None if owners is None or len(owners) < sum(sizes) else owners
    whole = replace(
        every,
        train=every.train.take(slice(first)),
        validation=every.train.take(slice(first, second)),
        test=every.train.take(slice(second, None)),
        owners=_some(owners, slice(first)),
        validation_owners=_some(of_held_out, slice(first, second)),
        test_owners=_some(of_held_out, slice(second, None)),
    )
    validation, test = 0.0 if sizes[1] else validation, 0.0 if sizes[2] else test
    return split_stratified(whole, validation, test, split_seed)


def _some(owners: Tensor | None, chosen: Tensor | slice) -> Tensor | None:
    """The owners of some samples, if there are any."""
    return None if owners is None else owners[chosen]


def check_fractions(validation: float, test: float = 0.0) -> None:
    """Raises a SpecError unless the held-out fractions leave something to train on."""
    require(0 <= validation < 1, "data.validation", validation, "a fraction in [0, 1)")
    require(0 <= test < 1, "data.test", test, "a fraction in [0, 1)")
    require(validation + test < 1, "data.validation + data.test", validation + test, "below 1")


def _spread(ordered: npt.NDArray[np.int64], count: int) -> tuple[Tensor, npt.NDArray[np.int64]]:
    """Takes ``count`` evenly spaced entries: of a list sorted by class, an even share of each.

    Returns:
        The entries that were taken, ascending, and those that were not, in their order.
    """
    marks = np.arange(len(ordered) + 1) * count // len(ordered)
    taken = marks[1:] > marks[:-1]
    return torch.from_numpy(np.sort(ordered[taken])), ordered[~taken]
