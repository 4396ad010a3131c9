"""What a run's model was trained on, as ``run.yaml`` says it of the data."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.task import Inputs, TaskSpec
from raydl.data.batches import ArrayPreparation, Preparation
from raydl.data.dataset import Dataset, SampleShape, Shape, holds_images


class ArraySample(NamedTuple):
    """One array of a sample, and how it was prepared for the model.

    Attributes:
        shape: its shape as the model sees it: (C, H, W), (F,), (T,) and so on.
        dtype: its type as it is stored: ``uint8``, ``float32``, or ``int64`` of tokens.
        mean: what was subtracted, as `raydl.data.Dataset` has it.
        std: what it was then divided by.
    """

    shape: Shape
    dtype: torch.dtype
    mean: Tensor | None = None
    std: Tensor | None = None

    @classmethod
    def from_mapping(cls, written: Mapping[str, Any]) -> "ArraySample":
        """What `to_mapping` gave."""
        mean, std = (
            None if each is None else torch.tensor(each, dtype=torch.float32)
            for each in (written["mean"], written["std"])
        )
        return cls(tuple(written["shape"]), getattr(torch, written["type"]), mean, std)

    def to_mapping(self) -> dict[str, Any]:
        """It in values that YAML can hold."""
        mean, std = _numbers(self.mean), _numbers(self.std)
        dtype = str(self.dtype).removeprefix("torch.")
        return {"shape": list(self.shape), "type": dtype, "mean": mean, "std": std}

    @property
    def preparation(self) -> ArrayPreparation:
        """What makes the stored array the model's."""
        images = len(self.shape) == 3 and self.dtype != torch.int64
        return ArrayPreparation(self.mean, self.std, images)

    def normalized(self, by: ArrayPreparation) -> "ArraySample":
        """It with what it is normalized by."""
        return self._replace(mean=by.mean, std=by.std)

    def __str__(self) -> str:
        return f"of shape {self.shape} and type {str(self.dtype).removeprefix('torch.')}"


def shape_of(written: Mapping[str, Any]) -> tuple[SampleShape, int]:
    """Of what `Sample.to_mapping` gave, or older runs wrote, what a model is made for.

    Returns:
        The shape of a sample, or of each input, and the number of outputs.
    """
    inputs, outputs = written.get("inputs"), written.get("outputs", written["classes"])
    if inputs is None:
        return tuple(written["shape"]), outputs
    return {name: tuple(each["shape"]) for name, each in inputs.items()}, outputs


class Sample(NamedTuple):
    """A sample of a data set, and what is predicted of it.

    Attributes:
        arrays: what it is; of a dictionary of inputs, each by its name.
        classes: how many classes there are; None if the targets are no classes.
        outputs: how many numbers a model gives for each thing that is predicted.
    """

    arrays: ArraySample | dict[str, ArraySample]
    classes: int | None
    outputs: int

    @classmethod
    def of(cls, dataset: Dataset, spec: TaskSpec) -> "Sample":
        """A data set's, for a task."""
        seen, outputs = _seen_all(dataset.train.inputs), dataset.train.targets
        prepared = Preparation.of(dataset, torch.device("cpu")).arrays
        if isinstance(seen, ArraySample) or isinstance(prepared, ArrayPreparation):
            assert isinstance(seen, ArraySample)
            assert isinstance(prepared, ArrayPreparation)
            arrays: ArraySample | dict[str, ArraySample] = seen.normalized(prepared)
        else:
            arrays = {name: each.normalized(prepared[name]) for name, each in seen.items()}
        return cls(arrays, dataset.classes, spec.outputs(dataset.classes, outputs))

    @classmethod
    def from_mapping(cls, written: Mapping[str, Any]) -> "Sample":
        """What `to_mapping` gave."""
        classes, inputs = written["classes"], written.get("inputs")
        arrays = (
            ArraySample.from_mapping(written)
            if inputs is None
            else {name: ArraySample.from_mapping(each) for name, each in inputs.items()}
        )
        return cls(arrays, classes, written.get("outputs", classes))

    def to_mapping(self) -> dict[str, Any]:
        """It in values that YAML can hold."""
        arrays = (
            self.arrays.to_mapping()
            if isinstance(self.arrays, ArraySample)
            else {"inputs": {name: each.to_mapping() for name, each in self.arrays.items()}}
        )
        return arrays | {"classes": self.classes, "outputs": self.outputs}

    @property
    def shape(self) -> SampleShape:
        """Its shape as the model sees it, or that of each input."""
        if isinstance(self.arrays, ArraySample):
            return self.arrays.shape
        return {name: each.shape for name, each in self.arrays.items()}

    @property
    def preparation(self) -> Preparation:
        """What makes stored samples the model's."""
        if isinstance(self.arrays, ArraySample):
            return Preparation(self.arrays.preparation)
        return Preparation({name: each.preparation for name, each in self.arrays.items()})

    def check(self, stored: Inputs, whose: str) -> None:
        """Raises a SpecError unless stored samples [n, ...] have its shape and type."""
        given = _seen_all(stored)
        if _plain(given) != _plain(self.arrays):
            raise SpecError(
                f"{whose} are {_words(given)}, but the run's model was trained on samples "
                f"{_words(self.arrays)}; give such"
            )


def _seen_all(stored: Inputs) -> ArraySample | dict[str, ArraySample]:
    if isinstance(stored, Tensor):
        return _seen(stored)
    return {name: _seen(each) for name, each in stored.items()}


def _seen(stored: Tensor) -> ArraySample:
    """What a model sees of an array of samples, without what it is normalized by."""
    shape = tuple(stored.shape[1:])
    return ArraySample((shape[2], *shape[:2]) if holds_images(stored) else shape, stored.dtype)


def _plain(arrays: ArraySample | dict[str, ArraySample]) -> Any:
    if isinstance(arrays, ArraySample):
        return arrays[:2]
    return {name: each[:2] for name, each in arrays.items()}


def _words(arrays: ArraySample | dict[str, ArraySample]) -> str:
    if isinstance(arrays, ArraySample):
        return str(arrays)
    return "with " + ", ".join(f"{name} {each}" for name, each in arrays.items())


def _numbers(values: Tensor | None) -> Any:
    """As a list, or if all are the same as the one that stands for them."""
    if values is None:
        return None
    alike = values.numel() > 0 and bool((values == values.flatten()[0]).all())
    return values.flatten()[0].item() if alike else values.tolist()
