"""Own data: tensors that the user already has."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import SpecError, require
from raydl.core.task import Inputs
from raydl.data.dataset import PADDING, Dataset, Source, Split, check_fractions, split_stratified
from raydl.data.forms.arrays import PerChannel, as_inputs, as_owners, as_scale, as_targets, or_none

_TOKENS = (torch.int32, torch.int64, torch.uint32, torch.uint64)


@dataclass(frozen=True, eq=False)
class Tensors(Source):
    """Own tensors as a data set.

    Inputs are an array [n, ...] of any shape, or a dictionary of such arrays, which the model gets
    as keyword arguments. Arrays of four dimensions are images [n, C, H, W], as torch has them, kept
    as uint8 or as float32. In others int32 and int64 are tokens, kept as int64, and all else is
    numbers, kept as float32 (of more than two dimensions also as
    uint8). Of targets integers are classes, kept as int64, and floating-point
    numbers are kept as float32; so is bool [n, L], which says of each of L labels whether it
    applies.

    Arrays, pandas' Series and lists of numbers become tensors; lists of whole numbers are int64. A
    DataFrame is features, kept as float32. Lists of sequences of unequal length are padded at their
    ends: inputs with 0, targets with -100. A tensor that requires a gradient leaves its graph
    behind.

    Args:
        inputs: the samples.
        targets: their classes, integers [n] or [n, ...]; or numbers [n] or [n, ...].
        test_inputs: samples of an official test set; a fraction of the samples if there is none.
        test_targets: targets of the official test set.
        classes: number of classes; the largest target + 1 if not given.
        owners: the natural client of each sample, integers or names [n].
        mean: subtracted from the inputs, in their units, for each channel or feature, or one for
            all; no normalization if not given. Of a dictionary of inputs, by their names.
        std: what the inputs are then divided by, likewise.
        validation: fraction of the samples held out for validation, stratified by class.
        test: fraction of the samples held out as the test set, if there is no official one.
        split_seed: seed of the choice of the held-out samples.
        name: what tables and figures call the data.
    """

    inputs: Annotated[Inputs, as_inputs]
    targets: Annotated[Tensor, as_targets]
    test_inputs: Annotated[Inputs | None, or_none(as_inputs)] = None
    test_targets: Annotated[Tensor | None, or_none(as_targets)] = None
    classes: int | None = None
    owners: Annotated[Tensor | None, or_none(as_owners)] = None
    mean: Annotated[PerChannel | dict[str, PerChannel] | None, as_scale] = None
    std: Annotated[PerChannel | dict[str, PerChannel] | None, as_scale] = None
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
            given, allowed = _sample(self.test_inputs), _sample(self.inputs)
            require(given == allowed, "data.test_inputs' shape [n, ...]", given, f"{allowed}")
            given, allowed = self.test_targets.shape[1:], self.targets.shape[1:]
            require(
                given == allowed,
                "data.test_targets' shape [n, ...]",
                tuple(given),
                f"{tuple(allowed)}",
            )
        if self.owners is not None:
            given, allowed = tuple(self.owners.shape), (len(self.targets),)
            require(
                given == allowed, "data.owners' shape", given, f"{allowed}: one for each sample"
            )
            kind = self.owners.dtype
            require(not kind.is_floating_point, "data.owners' type", kind, "integers, or names")

    def load(self) -> Dataset:
        """Stores the tensors as raydl keeps them, and splits them.

        Raises:
            SpecError: if a target is negative or not below ``classes``.
        """
        every = _convert(self.inputs, self.targets)
        if self.test_inputs is not None and self.test_targets is not None:
            test, fraction = _convert(self.test_inputs, self.test_targets), 0.0
            given, due = test.targets.dtype, every.targets.dtype
            require(given == due, "data.test_targets, kept as", given, f"{due}, as data.targets")
        else:
            test, fraction = every.none(), self.test
        whole = Dataset(
            name=self.name,
            train=every,
            validation=every.none(),
            test=test,
            classes=_classes(self.classes, every.targets, test.targets),
            mean=_scale("mean", self.mean, every.inputs),
            std=_scale("std", self.std, every.inputs),
            owners=None if self.owners is None else self.owners.cpu().long(),
        )
        return split_stratified(whole, self.validation, fraction, self.split_seed)


def _check(inputs: Inputs, targets: Tensor, which: str) -> None:
    samples = None
    for path, each in tree.leaves(inputs):
        field, shape = f"data.{which}inputs" + (f".{path}" if path else ""), tuple(each.shape)
        require(len(shape) > 0 and shape[0] > 0, f"{field}' shape", shape, "[n, ...], with n ≥ 1")
        samples = samples or shape[0]
        require(shape[0] == samples, f"{field}' shape", shape, f"[{samples}, ...] as of the others")
        require(not each.is_complex(), f"{field}' type", each.dtype, "real")
    shape, allowed = tuple(targets.shape), f"[{samples}] or [{samples}, ...]"
    fits = len(shape) > 0 and shape[0] == samples
    require(fits, f"data.{which}targets' shape", shape, allowed)
    require(not targets.is_complex(), f"data.{which}targets' type", targets.dtype, "real")


def _sample(inputs: Inputs) -> dict[str, tuple[int, ...]] | tuple[int, ...]:
    """The shape of a sample, or of each of its inputs."""
    if isinstance(inputs, dict):
        return {name: tuple(each.shape[1:]) for name, each in sorted(inputs.items())}
    return tuple(inputs.shape[1:])


def _convert(inputs: Inputs, targets: Tensor) -> Split:
    """The samples as `Split` has them."""
    targets = targets.cpu()
    numbers = targets.is_floating_point() or (targets.dtype == torch.bool and targets.ndim > 1)
    return Split(tree.map(as_stored, inputs), targets.float() if numbers else targets.long())


def as_stored(inputs: Tensor) -> Tensor:
    """Images channels last, uint8 or float32; int32 or int64 as tokens; the rest as float32."""
    inputs = inputs.cpu()
    if inputs.ndim == 4:
        inputs = inputs.permute(0, 2, 3, 1)
    elif inputs.dtype in _TOKENS:
        return inputs.long().contiguous()
    small = inputs.ndim > 2 and inputs.dtype == torch.uint8  # a minibatch is made float32 later
    return (inputs if small else inputs.float()).contiguous()


def _classes(given: int | None, *splits: Tensor) -> int | None:
    """The number of classes; None if the targets are numbers."""
    if splits[0].is_floating_point():
        require(given is None, "data.classes", given, "left out: the targets are numbers")
        return None
    targets = [each for each in splits if len(each)]
    low, high = min(map(_smallest, targets)), max(int(each.max()) for each in targets)
    require(low >= 0, "the smallest of data.targets", low, "0 or larger: classes count from 0")
    classes = high + 1 if given is None else given
    require(classes > high, "data.classes", classes, f"{high + 1} or more: a target is {high}")
    return classes


def _smallest(targets: Tensor) -> int:
    """The smallest class, of sequences without what pads them."""
    low = int(targets.min())
    if targets.ndim == 1 or low != PADDING:
        return low
    real = targets[targets != PADDING]
    return int(real.min()) if len(real) else 0


def _scale(
    field: str, values: PerChannel | dict[str, PerChannel] | None, inputs: Inputs
) -> Inputs | None:
    """A mean or a deviation of the inputs, as `Dataset` has it."""
    if values is None:
        return None
    if isinstance(inputs, dict):
        known = isinstance(values, dict) and values.keys() <= inputs.keys()
        names = ", ".join(inputs)
        require(known, f"data.{field}", values, f"a dictionary with some of {names}")
        assert isinstance(values, dict)
        return {
            name: _scale_of(f"{field}.{name}", each, inputs[name]) for name, each in values.items()
        }
    require(not isinstance(values, dict), f"data.{field}", values, "numbers: there is one input")
    assert isinstance(values, tuple)
    return _scale_of(field, values, inputs)


def _scale_of(field: str, values: PerChannel, inputs: Tensor) -> Tensor:
    channels = inputs.shape[-1] if inputs.ndim > 1 else 1
    allowed = f"1 or {channels} numbers, one for each channel or feature"
    require(len(values) in (1, channels), f"data.{field}", values, allowed)
    deviation = field.partition(".")[0] == "std"
    require(not deviation or min(values) > 0, f"data.{field}", values, "above 0")
    require(inputs.dtype != torch.int64, f"data.{field}", values, "left out: inputs are tokens")
    return torch.tensor(values).expand(channels).contiguous()
