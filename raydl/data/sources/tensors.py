"""Own data: tensors that the user already has."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.data.arrays import as_numbers, as_tensor, as_tensor_or_none
from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_stratified

_CLASSES = "an integer type: the number of each sample's class, as targets.long()"
_TOKENS = (torch.int32, torch.int64, torch.uint32, torch.uint64)


@dataclass(frozen=True, eq=False)
class Tensors(Source):
    """Own tensors as a data set.

    Inputs are images [n, C, H, W], as torch has them, kept as uint8 or as float32; features [n, F]
    of a floating-point type, bool, uint8, int8 or int16, kept as float32; or tokens [n, T], int32
    or int64, kept as int64. Arrays and lists of numbers become tensors; lists of whole numbers are
    int64. A tensor that requires a gradient leaves its graph behind.

    Args:
        inputs: the samples.
        targets: their classes, integers [n]; or next tokens [n, T].
        test_inputs: samples of an official test set; a fraction of the samples if there is none.
        test_targets: targets of the official test set.
        classes: number of classes; the largest target + 1 if not given.
        owners: the natural client of each sample, integers [n].
        mean: subtracted from the inputs, in their units, for each channel or feature, or one for
            all; no normalization if not given.
        std: what the inputs are then divided by, likewise.
        validation: fraction of the samples held out for validation, stratified by target.
        test: fraction of the samples held out as the test set, if there is no official one.
        split_seed: seed of the choice of the held-out samples.
        name: what tables and figures call the data.
    """

    inputs: Annotated[Tensor, as_tensor]
    targets: Annotated[Tensor, as_tensor]
    test_inputs: Annotated[Tensor | None, as_tensor_or_none] = None
    test_targets: Annotated[Tensor | None, as_tensor_or_none] = None
    classes: int | None = None
    owners: Annotated[Tensor | None, as_tensor_or_none] = None
    mean: Annotated[tuple[float, ...] | None, as_numbers] = None
    std: Annotated[tuple[float, ...] | None, as_numbers] = None
    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0
    name: str = "Tensors"

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)
        for pair in (("test_inputs", "test_targets"), ("mean", "std")):
            if len({getattr(self, each) is None for each in pair}) > 1:
                raise SpecError(f"data.{pair[0]} and data.{pair[1]} must be given together")
        _check(self.inputs, self.targets, "")
        if self.test_inputs is not None and self.test_targets is not None:
            _check(self.test_inputs, self.test_targets, "test_")
            given, allowed = tuple(self.test_inputs.shape[1:]), tuple(self.inputs.shape[1:])
            require(given == allowed, "data.test_inputs' shape [n, ...]", given, f"{allowed}")
        if self.owners is not None:
            given, allowed = tuple(self.owners.shape), (len(self.inputs),)
            require(
                given == allowed, "data.owners' shape", given, f"{allowed}: one for each sample"
            )

    def load(self) -> Dataset:
        """Stores the tensors as raydl keeps them, and splits them.

        Raises:
            SpecError: if a target is negative or not below ``classes``.
        """
        every = _convert(self.inputs, self.targets)
        if self.test_inputs is not None and self.test_targets is not None:
            test, fraction = _convert(self.test_inputs, self.test_targets), 0.0
        else:
            test, fraction = every.none(), self.test
        whole = Dataset(
            name=self.name,
            train=every,
            validation=every.none(),
            test=test,
            classes=_classes(self.classes, every, test),
            mean=_scale("mean", self.mean, every.inputs),
            std=_scale("std", self.std, every.inputs),
            owners=None if self.owners is None else self.owners.cpu().long(),
        )
        return split_stratified(whole, self.validation, fraction, self.split_seed)


def _check(inputs: Tensor, targets: Tensor, which: str) -> None:
    shape, allowed = tuple(inputs.shape), "[n, C, H, W], [n, F] or [n, T], with n ≥ 1"
    require(len(shape) in (2, 4) and shape[0] > 0, f"data.{which}inputs' shape", shape, allowed)
    require(not inputs.is_complex(), f"data.{which}inputs' type", inputs.dtype, "real")
    shape, allowed = tuple(targets.shape), f"[{len(inputs)}] or [{len(inputs)}, T]"
    fits = len(shape) in (1, 2) and shape[0] == len(inputs)
    require(fits, f"data.{which}targets' shape", shape, allowed)
    whole = not (targets.is_floating_point() or targets.is_complex())
    require(
        whole,
        f"data.{which}targets' type",
        targets.dtype,
        _CLASSES,
    )


def as_stored(inputs: Tensor) -> Tensor:
    """Images channels last, uint8 or float32; int32 or int64 as tokens; the rest as float32."""
    inputs = inputs.cpu()
    if inputs.ndim == 4:
        inputs = inputs.permute(0, 2, 3, 1)
        inputs = inputs if inputs.dtype == torch.uint8 else inputs.float()
    else:
        inputs = inputs.long() if inputs.dtype in _TOKENS else inputs.float()
    return inputs.contiguous()


def _convert(inputs: Tensor, targets: Tensor) -> Split:
    return Split(as_stored(inputs), targets.cpu().long())


def _classes(given: int | None, *splits: Split) -> int:
    targets = [each.targets for each in splits if len(each.targets)]
    low, high = min(int(each.min()) for each in targets), max(int(each.max()) for each in targets)
    require(low >= 0, "the smallest of data.targets", low, "0 or larger: classes count from 0")
    classes = high + 1 if given is None else given
    require(classes > high, "data.classes", classes, f"{high + 1} or more: a target is {high}")
    return classes


def _scale(field: str, values: tuple[float, ...] | None, inputs: Tensor) -> Tensor | None:
    if values is None:
        return None
    channels = inputs.shape[-1]
    allowed = f"1 or {channels} numbers, one for each channel or feature"
    require(len(values) in (1, channels), f"data.{field}", values, allowed)
    require(field == "mean" or min(values) > 0, f"data.{field}", values, "above 0")
    require(inputs.dtype != torch.int64, f"data.{field}", values, "left out: inputs are tokens")
    return torch.tensor(values).expand(channels).contiguous()
