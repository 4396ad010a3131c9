"""A procedural image set of any size that can be learned: needs no file and no network."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from raydl.core.errors import require
from raydl.core.rng import fold_in
from raydl.data.dataset import Dataset, Source, Split, check_fractions

_GREY, _CONTRAST = 128.0, 24.0  # mean of the pixels, and how far a class's mosaic departs from it
_CELLS = 4  # a mosaic has 4 × 4 cells
_CHUNK = 1 << 20  # pixels made at a time; part of what the seed means


@dataclass(frozen=True)
class Synthetic(Source):
    """Images made from a seed: each class is a mosaic of 4 × 4 grey cells, seen through noise.

    Classes are equally frequent, up to one sample, in each part.

    Args:
        samples: number of training samples, those held out for validation included.
        test: number of test samples.
        classes: number of classes.
        size: height and width of the images in pixels.
        channels: channels of the images.
        noise: standard deviation of the pixel noise, as a multiple of the mosaics' contrast; larger
            is harder.
        seed: seed of the mosaics and the noise.
        validation: fraction of the samples held out for validation.
    """

    samples: int = 10_000
    test: int = 2_000
    classes: int = 10
    size: int = 8
    channels: int = 1
    noise: float = 2.0
    seed: int = 0
    validation: float = 0.1

    def __post_init__(self) -> None:
        for field in ("size", "channels"):
            require(getattr(self, field) >= 1, f"data.{field}", getattr(self, field), "1 or larger")
        require(self.classes >= 2, "data.classes", self.classes, "2 or larger")
        check_fractions(self.validation)
        least = f"at least {self.classes} without those of validation: one for each class"
        require(self._train >= self.classes, "data.samples", self.samples, least)
        require(self.test >= 0, "data.test", self.test, "0 or larger")
        require(self.noise >= 0, "data.noise", self.noise, "0 or larger")

    @property
    def _train(self) -> int:
        return self.samples - round(self.samples * self.validation)

    def load(self) -> Dataset:
        """Makes the images."""
        rng = np.random.default_rng(fold_in(self.seed, "mosaics"))
        cells = rng.standard_normal((self.classes, _CELLS, _CELLS, self.channels), np.float32)
        cell = np.arange(self.size) * _CELLS // self.size
        mosaics = _GREY + _CONTRAST * cells[:, cell[:, None], cell]
        std = _CONTRAST * (1 + self.noise**2) ** 0.5
        return Dataset(
            name="Synthetic",
            train=self._part(mosaics, "train", self._train),
            validation=self._part(mosaics, "validation", self.samples - self._train),
            test=self._part(mosaics, "test", self.test),
            classes=self.classes,
            mean=torch.full((self.channels,), _GREY),
            std=torch.full((self.channels,), std),
        )

    def _part(self, mosaics: npt.NDArray[np.float32], part: str, samples: int) -> Split:
        """Samples of all classes in turn, noise added a chunk at a time to spare memory."""
        rng = np.random.default_rng(fold_in(self.seed, part))
        targets = rng.permutation(np.arange(samples) % self.classes)
        inputs = np.empty((samples, *mosaics.shape[1:]), np.uint8)
        chunk = max(1, _CHUNK // mosaics[0].size)
        for start in range(0, samples, chunk):
            labels = targets[start : start + chunk]
            pixels = rng.standard_normal((len(labels), *mosaics.shape[1:]), np.float32)
            pixels *= _CONTRAST * self.noise
            pixels += mosaics[labels]
            np.rint(pixels, out=pixels).clip(0, 255, out=pixels)
            inputs[start : start + chunk] = pixels
        return Split(torch.from_numpy(inputs), torch.from_numpy(targets))
