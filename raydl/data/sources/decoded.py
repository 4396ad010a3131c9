"""Sources whose samples can be decoded piece by piece, in this process or in many."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core.errors import SpecError
from raydl.data.dataset import Dataset, Source, Split, split_official
from raydl.data.sources.moments import Moments

_PARTS = ("train", "validation", "test")

# (decode, pieces) -> the samples of all the pieces, in order, in batches of any size [B, ...]
Decode: TypeAlias = Callable[[Callable[[Any], Iterable[Tensor]], Sequence[Any]], Iterable[Tensor]]


class Survey(NamedTuple):
    """What is known of samples before they are decoded.

    Attributes:
        name: of the data set.
        targets: what is to be predicted, [n] or [n, ...].
        classes: number of classes; None where targets are numbers.
        sizes: samples for training, for validation and for the test, in this order; 0 of a part
            that is to be cut out of those for training.
        pieces: what can be decoded apart, in the order of the samples; can be pickled.
        owners: the natural client of each sample for training, int64; None where there is none.
        normalized: which channels or features are to be normalized, bool [C]; None for all.
    """

    name: str
    targets: Tensor
    classes: int | None
    sizes: Sequence[int]
    pieces: Sequence[Any]
    owners: Tensor | None = None
    normalized: npt.NDArray[np.bool_] | None = None


class Sink(Protocol):
    """What takes the samples of a split."""

    def append(self, samples: Mapping[str, Tensor]) -> None:
        """Takes some samples: ``input``, ``target`` and what else there is, [b, ...] each."""


class DecodedSource(Source):
    """A source that knows all but the inputs of its samples before it decodes them.

    Attributes:
        validation: fraction of the samples held out for validation, if no others came.
        test: fraction of the samples held out as the test set, likewise.
        split_seed: seed of the choice of the held-out samples.
    """

    validation: float
    test: float
    split_seed: int

    @abstractmethod
    def survey(self) -> Survey:
        """Finds the samples, and reads all but their inputs.

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
        """Decodes all of the samples into memory.

        Raises:
            SpecError: if they cannot be decoded.
        """
        parts = {part: _Collected() for part in _PARTS}
        dataset = deal(self, parts)
        train, validation, test = (parts[part].split() for part in _PARTS)
        return replace(dataset, train=train, validation=validation, test=test)


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


def in_turn(decode: Callable[[Any], Iterable[Tensor]], pieces: Sequence[Any]) -> Iterator[Tensor]:
    """Decodes the pieces one after the other, in this process."""
    for piece in pieces:
        yield from decode(piece)


def deal(source: DecodedSource, sinks: Mapping[str, Sink], decode: Decode = in_turn) -> Dataset:
    """Decodes a source's samples, and gives each split its own, in order.

    Args:
        source: whose they are.
        sinks: of the splits, by name.
        decode: has the pieces decoded.

    Returns:
        The data set, whose inputs are the samples' numbers.

    Raises:
        SpecError: if they are others than there were.
    """
    survey = source.survey()
    numbered = _divide(source, survey)
    split = np.empty(len(survey.targets), np.int8)
    for number, part in enumerate(_PARTS):
        split[getattr(numbered, part).inputs.numpy()] = number
    moments, at, given, shape = Moments(), 0, dict.fromkeys(_PARTS, 0), None
    for inputs in decode(source.decode, survey.pieces):
        shape = shape or inputs.shape[1:]
        if inputs.shape[1:] != shape:
            raise SpecError(
                f"samples {at} to {at + len(inputs) - 1} of {survey.name} are of shape "
                f"{[*inputs.shape[1:]]}, and those before them of shape {[*shape]}"
            )
        stop = at + len(inputs)
        for number, part in enumerate(_PARTS):
            own = torch.from_numpy(np.flatnonzero(split[at:stop] == number))
            samples = {"input": inputs[own], "target": survey.targets[at:stop][own]}
            if part == "train":
                moments.add(samples["input"])
            if (whose := numbered.owners_of(part)) is not None:
                samples["owner"] = whose[given[part] : given[part] + len(own)]
            given[part] += len(own)
            sinks[part].append(samples)
        at = stop
    if at != len(split):
        raise SpecError(f"{survey.name} had {len(split)} samples, of which {at} were decoded")
    return moments.normalize(numbered, survey.normalized)


def _divide(source: DecodedSource, survey: Survey) -> Dataset:
    """The samples' numbers as a data set, divided into its parts."""
    every = Split(torch.arange(len(survey.targets)), survey.targets)
    whole = Dataset(
        survey.name, every, every.none(), every.none(), survey.classes, owners=survey.owners
    )
    return split_official(whole, survey.sizes, source.validation, source.test, source.split_seed)
