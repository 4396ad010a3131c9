"""Mean and standard deviation of inputs that come in batches, which have no say in the result."""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.data.dataset import Dataset


class Moments:
    """Mean and standard deviation of each channel or feature.

    Bytes are counted. Other numbers are added up one by one, in double precision and as differences
    from the first, so that no digits are lost where they are large and alike.
    """

    def __init__(self) -> None:
        self._count, self._origin, self._sums = 0, torch.zeros(()), torch.zeros(())
        self._histogram = torch.zeros(())

    def add(self, inputs: Tensor) -> None:
        """Counts inputs [B, ..., C] in."""
        values = inputs.reshape(-1, inputs.shape[-1])
        if inputs.dtype == torch.uint8:
            counts = [torch.bincount(each, minlength=256) for each in values.unbind(1)]
            self._histogram = self._histogram + torch.stack(counts)
            return
        values = values.double()
        if not self._count and len(values):
            self._origin = values[0].clone()
        apart = values - self._origin
        terms = torch.stack([apart, apart.square()], 1)  # [n, 2, C]
        before = self._sums.expand(1, *terms.shape[1:])
        self._sums = torch.cat([before, terms]).cumsum(0)[-1]
        self._count += len(values)

    def mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Of each channel or feature, float32 [C]; 1 for the deviation of one that is constant."""
        count, sums = float(self._count), self._sums
        if self._histogram.dim():
            counts, levels = self._histogram.double(), torch.arange(256.0, dtype=torch.float64)
            count = float(counts[0].sum())
            sums = torch.stack([counts @ levels, counts @ levels.square()])
        mean, square = (sums / count).unbind()
        std = (square - mean.square()).clamp(min=0).sqrt()
        return (mean + self._origin).float(), std.where(std > 0, 1.0).float()

    def normalize(
        self, dataset: Dataset, normalized: npt.NDArray[np.bool_] | None = None
    ) -> Dataset:
        """The data set with them.

        Args:
            dataset: whose training inputs were counted in.
            normalized: which channels or features are to be normalized, [C]; None for all.
        """
        mean, std = self.mean_and_std()
        if normalized is not None:
            if not normalized.any():
                return dataset
            chosen = torch.from_numpy(normalized)
            mean, std = mean.where(chosen, 0.0), std.where(chosen, 1.0)
        return replace(dataset, mean=mean, std=std)
