"""Sources whose samples must be decoded: piece by piece, in this process or in many."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.data.dataset import Dataset, Source, Split, check_fractions, split_stratified
from raydl.data.sources.moments import Moments

_PARTS = ("train", "validation", "test")

# (decode, pieces) -> the samples of all the pieces, in order, in batches of any size [B, ...]
Decode: TypeAlias = Callable[[Callable[[Any], Iterable[Tensor]], Sequence[Any]], Iterable[Tensor]]


class Survey(NamedTuple):
    """What is known of samples before they are decoded.

    Attributes:
        targets: their classes, int64 [n].
        classes: how many there are.
        pieces: what can be decoded apart, in the order of the samples; can be pickled.
    """

    targets: Tensor
    classes: int
    pieces: list[Any]


class Dealt(NamedTuple):
    """What is known of samples when they are decoded.

    Attributes:
        classes: how many there are.
        mean: of the training inputs, for each channel or feature.
        std: their standard deviation, likewise.
    """

    classes: int
    mean: list[float]
    std: list[float]


class Sink(Protocol):
    """What takes the samples of a split."""

    def append(self, samples: Mapping[str, Tensor]) -> None:
        """Takes ``input`` and ``target`` of some samples."""


@dataclass(frozen=True, kw_only=True)
class DecodedSource(Source):
    """A source that knows the targets of all its samples before it decodes their inputs.

    Args:
        validation: fraction of the samples held out for validation, stratified by label.
        test: fraction of the samples held out as the test set, stratified by label.
        split_seed: seed of the choice of the held-out samples.
    """

    validation: float = 0.1
    test: float = 0.2
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_fractions(self.validation, self.test)

    @property
    @abstractmethod
    def title(self) -> str:
        """What tables and figures call the data."""

    @abstractmethod
    def survey(self) -> Survey:
        """Finds the samples and reads their targets.

        Raises:
            SpecError: if there are none.
        """

    @abstractmethod
    def decode(self, piece: Any) -> Iterator[Tensor]:
        """Decodes the inputs of a piece, in batches [B, ...] of a bounded size.

        Raises:
            SpecError: if they cannot be decoded.
        """

    def load(self) -> Dataset:
        """Decodes all of the samples into memory."""
        parts = {part: _Collected() for part in _PARTS}
        dealt = deal(self, parts)
        train, validation, test = (parts[part].split() for part in _PARTS)
        mean, std = (torch.tensor(each) for each in (dealt.mean, dealt.std))
        return Dataset(self.title, train, validation, test, dealt.classes, mean, std)


def in_turn(decode: Callable[[Any], Iterable[Tensor]], pieces: Sequence[Any]) -> Iterator[Tensor]:
    """Decodes the pieces one after the other, in this process."""
    for piece in pieces:
        yield from decode(piece)


def deal(source: DecodedSource, sinks: Mapping[str, Sink], decode: Decode = in_turn) -> Dealt:
    """Decodes a source's samples, and gives each split its own, in order.

    Args:
        source: whose they are.
        sinks: of the splits, by name.
        decode: has the pieces decoded.

    Raises:
        SpecError: if there are none, if they differ in shape, or are others than there were.
    """
    survey = source.survey()
    due, split = len(survey.targets), _split(source, survey)
    moments, at, shape = Moments(), 0, None
    for inputs in decode(source.decode, survey.pieces):
        shape = shape or inputs.shape[1:]
        if inputs.shape[1:] != shape:
            raise SpecError(
                f"a sample of {source.title} is of shape {tuple(inputs.shape[1:])}, and the first "
                f"of {tuple(shape)}; all must be of one: for images, set data.size"
            )
        stop = at + len(inputs)
        for number, part in enumerate(_PARTS):
            own = torch.from_numpy(np.flatnonzero(split[at:stop] == number))
            samples = {"input": inputs[own], "target": survey.targets[at:stop][own]}
            sinks[part].append(samples)
            if part == "train":
                moments.add(samples["input"])
        at = stop
    if at != due:
        raise SpecError(f"{source.title} had {due} samples, of which {at} were decoded")
    return Dealt(survey.classes, *moments.mean_and_std())


def _split(source: DecodedSource, survey: Survey) -> npt.NDArray[np.int8]:
    """The number of each sample's split, int8 [n]."""
    numbers = torch.arange(len(survey.targets))
    every = Split(numbers, survey.targets)
    whole = Dataset(source.title, every, every.none(), every.none(), survey.classes)
    divided = split_stratified(whole, source.validation, source.test, source.split_seed)
    split = np.empty(len(numbers), np.int8)
    for number, part in enumerate(_PARTS):
        split[getattr(divided, part).inputs.numpy()] = number
    return split


class _Collected:
    """Samples of a split, in memory."""

    def __init__(self) -> None:
        self._inputs: list[Tensor] = []
        self._targets: list[Tensor] = []

    def append(self, samples: Mapping[str, Tensor]) -> None:
        self._inputs.append(samples["input"])
        self._targets.append(samples["target"])

    def split(self) -> Split:
        return Split(torch.cat(self._inputs), torch.cat(self._targets))
