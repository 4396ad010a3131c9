"""What a run's model was trained on, as ``run.yaml`` says it of the data."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.task import TaskSpec
from raydl.data.batches import Preparation
from raydl.data.dataset import Dataset


class Sample(NamedTuple):
    """A sample of a data set, and how it was prepared for the model.

    Attributes:
        shape: its shape as the model sees it: (C, H, W), (F,) or (T,).
        classes: how many classes there are; None if the targets are no classes.
        outputs: how many numbers a model gives for each thing that is predicted.
        dtype: its type as it is stored: ``uint8``, ``float32``, or ``int64`` of tokens.
        mean: what was subtracted, as `raydl.data.Dataset` has it.
        std: what it was then divided by.
    """

    shape: tuple[int, ...]
    classes: int | None
    outputs: int
    dtype: torch.dtype
    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def of(cls, dataset: Dataset, spec: TaskSpec) -> "Sample":
        """A data set's, for a task."""
        inputs, targets = dataset.train
        outputs = spec.outputs(dataset.classes, targets)
        return cls(dataset.shape, dataset.classes, outputs, inputs.dtype, dataset.mean, dataset.std)

    @classmethod
    def from_mapping(cls, written: Mapping[str, Any]) -> "Sample":
        """What `to_mapping` gave."""
        mean, std = (
            None if each is None else torch.tensor(each, dtype=torch.float32)
            for each in (written["mean"], written["std"])
        )
        dtype = getattr(torch, written["type"])
        classes = written["classes"]
        outputs = written.get("outputs", classes)  # of a run before there were tasks
        return cls(tuple(written["shape"]), classes, outputs, dtype, mean, std)

    def to_mapping(self) -> dict[str, Any]:
        """It in values that YAML can hold."""
        return {
            "shape": list(self.shape),
            "classes": self.classes,
            "outputs": self.outputs,
            "type": str(self.dtype).removeprefix("torch."),
            "mean": _numbers(self.mean),
            "std": _numbers(self.std),
        }

    @property
    def preparation(self) -> Preparation:
        """What makes stored samples the model's."""
        return Preparation(self.mean, self.std, images=len(self.shape) == 3)

    def check(self, shape: tuple[int, ...], dtype: torch.dtype, whose: str) -> None:
        """Raises a SpecError unless samples have the shape, and are stored in the type."""
        if (shape, dtype) != (self.shape, self.dtype):
            raise SpecError(
                f"{whose} are {_words(shape, dtype)}, but the run's model was trained on samples "
                f"{_words(self.shape, self.dtype)}; give such"
            )


def _numbers(values: Tensor | None) -> Any:
    """As a list, or if all are the same as the one that stands for them."""
    if values is None:
        return None
    alike = values.numel() > 0 and bool((values == values.flatten()[0]).all())
    return values.flatten()[0].item() if alike else values.tolist()


def _words(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"of shape {shape} and type {str(dtype).removeprefix('torch.')}"
