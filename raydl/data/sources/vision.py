"""Published image sets: scikit-learn's digits, and what torchvision reads or downloads.

Means and standard deviations are those of the training pixels, over all images, channel by channel.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import SpecError, require
from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_stratified
from raydl.data.sources.moments import Moments


@dataclass(frozen=True)
class TorchvisionSource(Source):
    """An image set that torchvision's class of the same name reads.

    Args:
        root: folder that holds the data as torchvision lays it out; downloaded into if it is not
            there.
        validation: fraction of the training set held out for validation, stratified by label; 0
            leaves the training set as it is published.
        split_seed: seed of the choice of the held-out samples.
    """

    root: str = "data"
    validation: float = 0.1
    split_seed: int = 0

    folder: ClassVar[str]
    classes: ClassVar[int]
    mean: ClassVar[tuple[float, ...]]
    std: ClassVar[tuple[float, ...]]

    def __post_init__(self) -> None:
        remote = "a local folder; for data in a bucket use Prepared, which reads any file system"
        require("://" not in self.root, "data.root", self.root, remote)
        check_fractions(self.validation)

    def load(self) -> Dataset:
        """Reads the data under ``root``, downloaded first if need be.

        Raises:
            SpecError: if the data is neither there nor can be downloaded, or is damaged.
        """
        name = type(self).__name__
        train, test = self._read(name, train=True), self._read(name, train=False)
        scale = torch.tensor([self.mean, self.std]) * 255
        whole = Dataset(name, train, train.none(), test, self.classes, *scale)
        return split_stratified(whole, self.validation, split_seed=self.split_seed)

    def _options(self) -> dict[str, Any]:
        """What torchvision's class is told besides."""
        return {}

    def _read(self, name: str, *, train: bool) -> Split:
        from torchvision import datasets

        try:
            # The CIFAR files are pickles: torchvision opens them only if their MD5s are right.
            options = self._options()
            found = getattr(datasets, name)(self.root, train=train, download=True, **options)
        except (RuntimeError, OSError, ValueError, AssertionError) as error:
            folder = Path(self.root).expanduser().resolve() / self.folder
            reason = " ".join(str(error).split()) or type(error).__name__
            raise SpecError(
                f"data.root is {self.root!r}; {name} could neither be read from {folder} nor be "
                f"downloaded to it: {reason}. Set data.root to the folder that holds a sound "
                f"{self.folder}, or run once where there is a network"
            ) from error
        inputs = torch.as_tensor(found.data)
        inputs = inputs.unsqueeze(-1) if inputs.ndim == 3 else inputs
        return Split(inputs.contiguous(), torch.as_tensor(found.targets, dtype=torch.int64))


@dataclass(frozen=True)
class MNIST(TorchvisionSource):
    """60,000 + 10,000 handwritten digits, 28 × 28 pixels, 10 classes.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
    recognition", Proceedings of the IEEE, 1998.
    """

    folder = "MNIST/raw"
    classes = 10
    mean = (0.1307,)
    std = (0.3081,)


@dataclass(frozen=True)
class FashionMNIST(TorchvisionSource):
    """60,000 + 10,000 pieces of clothing, 28 × 28 pixels, 10 classes.

    H. Xiao, K. Rasul, R. Vollgraf, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine
    Learning Algorithms", arXiv:1708.07747, 2017.
    """

    folder = "FashionMNIST/raw"
    classes = 10
    mean = (0.2860,)
    std = (0.3530,)


@dataclass(frozen=True)
class EMNIST(TorchvisionSource):
    """Handwritten letters and digits, 28 × 28 pixels, upright.

    G. Cohen, S. Afshar, J. Tapson, A. van Schaik, "EMNIST: an extension of MNIST to handwritten
    letters", arXiv:1702.05373, 2017. Mean and deviation are counted from its training pixels, and
    classes from 0 on.

    Args:
        part: 47 classes of equal size (balanced), 62 digits and letters (byclass), 47 in which
            small letters that look like capitals are those (bymerge), 26 letters, 10 digits, or 10
            digits of as many samples as MNIST has (mnist).
    """

    part: Literal["balanced", "byclass", "bymerge", "letters", "digits", "mnist"] = "balanced"

    folder = "EMNIST/raw"
    mean = (0.0,)
    std = (1.0,)

    @property
    def classes(self) -> int:  # type: ignore[override]
        """How many there are in the part."""
        return _EMNIST_CLASSES[self.part]

    def load(self) -> Dataset:
        """Reads the data under ``root``, downloaded first if need be.

        Raises:
            SpecError: see `TorchvisionSource.load`.
        """
        read = super().load()
        moments = Moments()
        for each in (read.train.inputs, read.validation.inputs):
            assert isinstance(each, Tensor)
            moments.add(each)
        return moments.normalize(read)

    def _options(self) -> dict[str, Any]:
        return {"split": self.part}

    def _read(self, name: str, *, train: bool) -> Split:
        stored = super()._read(name, train=train)
        first = 1 if self.part == "letters" else 0
        return Split(
            tree.map(lambda each: each.transpose(1, 2).contiguous(), stored.inputs),
            stored.targets - first,
        )


_EMNIST_CLASSES = {
    "balanced": 47,
    "byclass": 62,
    "bymerge": 47,
    "letters": 26,
    "digits": 10,
    "mnist": 10,
}


@dataclass(frozen=True)
class CIFAR10(TorchvisionSource):
    """50,000 + 10,000 photographs, 3 × 32 × 32, 10 classes.

    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    folder = "cifar-10-batches-py"
    classes = 10
    mean = (0.4914, 0.4822, 0.4465)
    std = (0.2470, 0.2435, 0.2616)


@dataclass(frozen=True)
class CIFAR100(TorchvisionSource):
    """50,000 + 10,000 photographs, 3 × 32 × 32, 100 classes.

    A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
    """

    folder = "cifar-100-python"
    classes = 100
    mean = (0.5071, 0.4867, 0.4408)
    std = (0.2675, 0.2565, 0.2761)
