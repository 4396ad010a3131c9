"""A tensor whose samples lie in mapped files: what a split of mapped data holds."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.data.prepared.stored import StoredColumn


class Rows(Tensor):
    """Samples [n, ...] in mapped files: a tensor without memory of its own.

    It has a tensor's shape and type, and of a tensor's methods those that a split is asked for;
    samples are copied into memory as they are indexed. The kernel reads of the files what is asked
    for, keeps it while there is memory, and shares it among processes. Pickled, it is its place
    alone, whose files are mapped again where it arrives.

    Args:
        stored: the samples.
        device: what they are brought to.
    """

    _stored: StoredColumn
    _device: torch.device

    def __new__(cls, stored: StoredColumn, device: torch.device | str = "cpu") -> Self:
        """A tensor on torch's device for shapes alone."""
        self = torch.empty(stored.shape, dtype=stored.column.dtype, device="meta").as_subclass(cls)
        self._stored, self._device = stored, torch.device(device)
        return self

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
            f"{name} of samples in mapped files would read all of them; take some of them first, "
            "such as samples[:100]"
        )

    @property
    def stored(self) -> StoredColumn:
        """The samples where they lie."""
        return self._stored

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """What samples are brought to."""
        return self._device

    def to(self, device: torch.device | str) -> Self:  # type: ignore[override]
        """The same samples, to be brought to a device."""
        return type(self)(self._stored, device)

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Samples by number, int64 [B], copied: [B, ...].

        Raises:
            IndexError: if there is none of a number.
        """
        assert dim == 0
        return self._stored.gather(index.cpu().numpy()).to(self._device)

    def __getitem__(self, key: Any) -> Tensor:
        """One sample, a slice of them, or those of some numbers; copied."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._stored.copy(start, max(start, stop)).to(self._device)
            key = torch.arange(start, stop, step)
        if isinstance(key, Tensor | np.ndarray):
            return self.index_select(0, torch.as_tensor(key))
        return self.index_select(0, torch.tensor([range(len(self))[key]]))[0]

    def numpy(self) -> npt.NDArray[Any]:  # type: ignore[override]
        """All of the samples, in memory."""
        array: npt.NDArray[Any] = self[:].cpu().numpy()
        return array

    def min(self) -> Tensor:  # type: ignore[override]
        """The smallest number, of whole ones, but for -100, which only fills sequences up."""
        return torch.tensor(self._extreme(0)[0])

    def max(self) -> Tensor:  # type: ignore[override]
        """The largest number, of whole ones, likewise."""
        return torch.tensor(self._extreme(1)[0])

    def argmin(self) -> Tensor:  # type: ignore[override]
        """The place of the first smallest number, of all in row-major order."""
        return torch.tensor(self._extreme(0)[1])

    def argmax(self) -> Tensor:  # type: ignore[override]
        """The place of the first largest number, likewise."""
        return torch.tensor(self._extreme(1)[1])

    def extreme_samples(self) -> Tensor:
        """The numbers of the samples that hold the smallest and the largest number, int64 [2]."""
        size = self[:1].numel()
        return torch.tensor([at // size for _, at in self._stored.extremes] or [0, 0])

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Rows({tuple(self.shape)}, {self.dtype}, {self._stored.place.uri!r})"

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return self._stored.place.open, ()

    def _extreme(self, which: int) -> list[int]:
        if not self._stored.extremes:
            raise TypeError(f"the extremes of {self.dtype} are not written down: take some samples")
        return self._stored.extremes[which]


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
