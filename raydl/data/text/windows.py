"""Windows of a text: samples that are gathered from it instead of stored.

4.2 million windows of 80 letters are 2.6 GB of tokens, but 5 MB of text and 34 MB of positions.
"""

import warnings
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.data.gathered import Extreme, Gathered


class Text:
    """Tokens one after the other, once for all windows into them, whatever split they are of.

    Pickled, it is an array, which Ray leaves where it lies.

    Args:
        tokens: uint8 [length].
    """

    def __init__(self, tokens: npt.NDArray[np.uint8]) -> None:
        self.tokens = tokens
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self._here = torch.from_numpy(tokens)
        self._on: dict[torch.device, Tensor] = {self._here.device: self._here}

    def on(self, device: torch.device) -> Tensor:
        """The tokens on a device, uint8 [length]; they are brought there once."""
        if device not in self._on:
            self._on[device] = self._here.to(device)
        return self._on[device]

    def __len__(self) -> int:
        return len(self.tokens)

    def __reduce__(self) -> tuple[Any, ...]:
        return Text, (self.tokens,)


class Windows(Gathered):
    """Tokens int64 [n, length]: stretches of a text by their first positions.

    Args:
        text: what they are stretches of.
        starts: the position of each one's first token, int64 [n].
        length: tokens of each.
        device: what they are gathered on.
    """

    _text: Text
    _starts: Tensor
    _views: Tensor

    def __new__(
        cls, text: Text, starts: Tensor, length: int, device: torch.device | str = "cpu"
    ) -> Self:
        """A tensor on torch's device for shapes alone."""
        shape = (len(starts), length)
        self = torch.empty(shape, dtype=torch.int64, device="meta").as_subclass(cls)
        self._text, self._device = text, torch.device(device)
        self._starts = starts.to(self._device)
        self._views = text.on(self._device).unfold(0, length, 1)  # every stretch, without a copy
        return self

    @property
    def text(self) -> Text:
        """What they are stretches of."""
        return self._text

    @property
    def starts(self) -> Tensor:
        """The position of each one's first token, int64 [n]."""
        return self._starts

    def part(self, index: Tensor) -> Self:
        """Some of the windows by number, int64 [k], not gathered yet."""
        return type(self)(self._text, self._starts[index], self.shape[1], self._device)

    def to(self, device: torch.device | str) -> Self:  # type: ignore[override]
        """The same windows, to be gathered on a device."""
        return type(self)(self._text, self._starts, self.shape[1], device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Windows by number, int64 [B], gathered: int64 [B, length].

        Raises:
            IndexError: if there is none of a number.
        """
        assert dim == 0
        starts = self._starts.index_select(0, index.to(self._device))
        return self._views.index_select(0, starts).long()

    def extreme(self, which: int) -> Extreme:
        """The smallest token (0), or the largest (1)."""
        return self._extremes[which]

    @cached_property
    def _extremes(self) -> tuple[Extreme, Extreme]:
        length, tokens, covered = self.shape[1], self._text.on(self._device), self._covered()

        def found(at: Tensor) -> Extreme:
            window = ((self._starts <= at) & (at < self._starts + length)).int().argmax()
            return Extreme(int(tokens[at]), int(window * length + at - self._starts[window]))

        return (
            found(tokens.where(covered, 255).argmin()),
            found(tokens.where(covered, 0).argmax()),
        )

    def extreme_samples(self) -> Tensor:
        """The numbers of the windows with the smallest and the largest token, int64 [2]."""
        return torch.tensor([self.extreme(which).place // self.shape[1] for which in (0, 1)])

    def _covered(self) -> Tensor:
        """Which positions of the text are in a window, bool [tokens]."""
        steps = torch.zeros(len(self._text) + 1, dtype=torch.int32, device=self._device)
        ones = torch.ones_like(self._starts, dtype=torch.int32)
        steps.index_add_(0, self._starts, ones).index_add_(0, self._starts + self.shape[1], -ones)
        return steps.cumsum(0)[:-1] > 0

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Windows({tuple(self.shape)} of a text of {len(self._text):,} tokens)"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _windows, (self._text, self._starts.cpu().numpy(), self.shape[1])


def _windows(text: Text, starts: npt.NDArray[np.int64], length: int) -> Windows:
    """Windows that were pickled; their arrays may be read-only."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return Windows(text, torch.from_numpy(starts), length)
