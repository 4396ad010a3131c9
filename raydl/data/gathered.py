"""Samples that are put together as they are asked for, and stand in a split like a tensor."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Extreme(NamedTuple):
    """A smallest or a largest number, and where it is among all numbers in row-major order."""

    number: int
    place: int


class Gathered(Tensor):
    """Samples [n, ...]: a tensor without memory of its own.

    It has a tensor's shape and type, and of a tensor's methods those that a split is asked for;
    samples are copied into memory as they are indexed.
    """

    _device: torch.device

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Answers what is asked of shape and type.

        Raises:
            TypeError: for anything else, which would take every sample.
        """
        if func in _ANSWERED:
            return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
        name = getattr(func, "__name__", str(func))
        raise TypeError(
            f"{name} of {cls.__name__} would put all samples into memory; take some of them "
            "first, such as samples[:100]"
        )

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """What samples are brought to."""
        return self._device

    @abstractmethod
    def to(self, device: torch.device | str) -> Self:  # type: ignore[override]
        """The same samples, to be brought to a device."""

    @abstractmethod
    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Samples by number, int64 [B], copied: [B, ...].

        Raises:
            IndexError: if there is none of a number.
        """

    @abstractmethod
    def extreme(self, which: int) -> Extreme:
        """The smallest number (0), or the largest (1), but for -100, which only fills up."""

    @abstractmethod
    def extreme_samples(self) -> Tensor:
        """The numbers of the samples that hold the smallest and the largest number, int64 [2]."""

    def between(self, start: int, stop: int) -> Tensor:
        """Samples that follow one another, copied: [stop - start, ...]."""
        return self.index_select(0, torch.arange(start, stop))

    def __getitem__(self, key: Any) -> Tensor:
        """One sample, a slice of them, or those of some numbers; copied."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self.between(start, max(start, stop))
            key = torch.arange(start, stop, step)
        if isinstance(key, Tensor | np.ndarray):
            return self.index_select(0, torch.as_tensor(key))
        return self.index_select(0, torch.tensor([range(len(self))[key]]))[0]

    def numpy(self) -> npt.NDArray[Any]:  # type: ignore[override]
        """All of the samples, in memory."""
        array: npt.NDArray[Any] = self[:].cpu().numpy()
        return array

    def min(self) -> Tensor:  # type: ignore[override]
        """The smallest number, of whole ones."""
        return torch.tensor(self.extreme(0).number)

    def max(self) -> Tensor:  # type: ignore[override]
        """The largest number, of whole ones."""
        return torch.tensor(self.extreme(1).number)

    def argmin(self) -> Tensor:  # type: ignore[override]
        """The place of a smallest number, of all in row-major order."""
        return torch.tensor(self.extreme(0).place)

    def argmax(self) -> Tensor:  # type: ignore[override]
        """The place of a largest number, likewise."""
        return torch.tensor(self.extreme(1).place)


_ANSWERED = {
    Tensor.shape.__get__,  # type: ignore[attr-defined]
    Tensor.dtype.__get__,  # type: ignore[attr-defined]
    Tensor.ndim.__get__,  # type: ignore[attr-defined]
    Tensor.layout.__get__,  # type: ignore[attr-defined]
    Tensor.requires_grad.__get__,  # type: ignore[attr-defined]
    Tensor.__len__,
    Tensor.dim,
    Tensor.size,
    Tensor.numel,
    Tensor.is_floating_point,
    Tensor.is_complex,
}
