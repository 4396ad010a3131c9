"""Scoring a model on a split, in stretches whose sums add up."""

from collections.abc import Callable, Iterator
from functools import partial
from math import nan
from typing import NamedTuple

import torch
from torch import Tensor

from raydl.core.grad import forward
from raydl.core.task import Task, TaskSpec
from raydl.core.tree import Params
from raydl.data.batches import Preparation
from raydl.data.dataset import Dataset, Split


class Score(NamedTuple):
    """Sums over the samples evaluated, so that scores add up.

    Attributes:
        samples: how many samples.
        losses: the sum of the samples' losses, times their weights.
        weight: the sum of the weights.
        scores: the sums of the samples' scores, by name, times what each counts.
        counted: the sum of what they count.
        statistics: the task's own sums, by name, float64.
    """

    samples: int = 0
    losses: float = 0.0
    weight: float = 0.0
    scores: dict[str, float] = {}  # noqa: RUF012  # never written to
    counted: float = 0.0
    statistics: dict[str, Tensor] = {}  # noqa: RUF012

    def __add__(self, other: "Score") -> "Score":  # type: ignore[override]
        return Score(
            self.samples + other.samples,
            self.losses + other.losses,
            self.weight + other.weight,
            {name: self.scores.get(name, 0.0) + each for name, each in other.scores.items()},
            self.counted + other.counted,
            {
                name: self.statistics[name] + each if name in self.statistics else each
                for name, each in other.statistics.items()
            },
        )

    def metrics(self, task: TaskSpec) -> dict[str, float]:
        """The ``loss`` and the task's metrics; empty if nothing was evaluated."""
        if not self.samples:
            return {}
        means = {"loss": self.losses / self.weight if self.weight else nan}
        means |= {
            name: each / self.counted if self.counted else nan for name, each in self.scores.items()
        }
        return means | task.summarize(means, self.statistics)


class Stretch(NamedTuple):
    """A stretch of a split, the unit of evaluation: samples [start, stop)."""

    split: str
    start: int
    stop: int


AT_ONCE = 250  # samples: few enough for a CNN's activations to stay in the cache
_STRETCH = 2000  # samples of one evaluation task


def stretches(dataset: Dataset, split: str) -> Iterator[Stretch]:
    """Cuts a split (``train``, ``validation`` or ``test``) into stretches."""
    samples = len(getattr(dataset, split).targets)
    for start in range(0, samples, _STRETCH):
        yield Stretch(split, start, min(start + _STRETCH, samples))


@torch.no_grad()
def evaluate(task: Task, params: Params, split: Split, prepare: Preparation) -> Score:
    """Scores the model with these parameters on every sample of ``split``, where it lies."""
    task.model.eval()
    model = partial(forward, task, params)
    return sum((score for _, score in outputs_of(task, model, split, prepare)), Score())


def outputs_of(
    task: Task, model: Callable[[Tensor], Tensor], split: Split, prepare: Preparation
) -> Iterator[tuple[Tensor, Score]]:
    """The outputs [B, ...] for the samples of a split and what they score, a few at a time.

    Args:
        task: what is learned.
        model: inputs -> float32 outputs, with the parameters in it.
        split: the samples as they are stored.
        prepare: what makes inputs of them.
    """
    for stored, targets in split.pieces(AT_ONCE):
        inputs = prepare(stored)
        outputs = model(inputs)
        yield outputs, score_outputs(task.spec, outputs, task.spec.target(inputs, targets))


def score_outputs(spec: TaskSpec, outputs: Tensor, targets: Tensor) -> Score:
    """The score of float32 outputs [B, ...], beside what they are compared with, [B, ...]."""
    losses, weight = _sum(spec.losses(outputs, targets), spec.weights(targets))
    each, counts = spec.scores(outputs, targets), spec.counts(targets)
    return Score(
        len(targets),
        losses,
        weight,
        {name: _sum(values, counts)[0] for name, values in each.items()},
        len(targets) if counts is None else float(counts.sum(dtype=torch.float64)),
        {name: value.cpu() for name, value in spec.statistics(outputs, targets).items()},
    )


def _sum(values: Tensor, weights: Tensor | None) -> tuple[float, float]:
    """The sum of values [B] times their weights, and that of the weights."""
    if weights is None:
        return float(values.sum(dtype=torch.float64)), len(values)
    values, weights = values.double(), weights.double()
    return float((values * weights).sum()), float(weights.sum())
