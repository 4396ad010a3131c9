"""A data set held in memory as tensors, and its stratified split."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import require
from raydl.core.spec import Spec


class Split(NamedTuple):
    """One part of a data set: n samples and what is to be predicted of them.

    Attributes:
        inputs: images, uint8 or float32 [n, H, W, C], always channels last, so that a gathered
            batch permuted to [B, C, H, W] has torch's ``channels_last`` layout for free; features,
            float32 [n, F]; or tokens, int64 [n, T].
        targets: classes, int64 [n]; or next tokens, int64 [n, T].
    """

    inputs: Tensor
    targets: Tensor

    def take(self, indices: Tensor) -> "Split":
        """The samples at ``indices``, copied."""
        return Split(self.inputs[indices], self.targets[indices])

    def none(self) -> "Split":
        """An empty part of the same kind."""
        return self.take(torch.empty(0, dtype=torch.int64))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Train, validation and test samples, and what a model must know of them.

    Args:
        name: what tables and figures call it.
        train: the samples that clients own.
        validation: held-out samples that tuning may look at; may be empty.
        test: held-out samples that are scored at the end; may be empty.
        classes: number of classes.
        mean: what is subtracted from the inputs, float32 [C] for images, [] or [F] for features,
            in units of the stored inputs: 0 to 255 for uint8. None for no normalization.
        std: what the inputs are then divided by, of the same shape and in the same units.
        owners: the natural client of each training sample, int64 [n]; None where there is none.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    mean: Tensor | None = None
    std: Tensor | None = None
    owners: Tensor | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample as the model sees it: (C, H, W), (F,) or (T,)."""
        sample = tuple(self.train.inputs.shape[1:])
        return (sample[2], *sample[:2]) if len(sample) == 3 else sample


class Source(Spec, ABC, field="data"):
    """A spec that names a data set and can load it.

    An own one need not be a subclass: an object with ``load``, or a function, is one, and may give
    ``Tensors`` or (x, y) as well.
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
    the seed. Sequences of targets [n, T] have no class: they are split at random.

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
    targets = whole.train.targets.numpy()
    n = len(targets)
    labels = targets if targets.ndim == 1 else np.zeros(n, np.int64)
    shuffled = np.random.default_rng(split_seed).permutation(n)
    rest = shuffled[np.argsort(labels[shuffled], kind="stable")]
    parts = {"test": whole.test, "validation": whole.validation}
    for name, fraction in (("test", test), ("validation", validation)):
        if fraction:
            chosen, rest = _spread(rest, round(fraction * n))
            parts[name] = whole.train.take(chosen)
    require(len(rest) > 0, "data.validation", validation, f"smaller: it takes all {n} samples")
    if not (validation or test):
        return whole
    kept = torch.from_numpy(np.sort(rest))
    owners = None if whole.owners is None else whole.owners[kept]
    train = whole.train.take(kept)
    return replace(
        whole, train=train, validation=parts["validation"], test=parts["test"], owners=owners
    )


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
