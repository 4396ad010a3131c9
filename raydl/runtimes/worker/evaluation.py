"""Scoring a model on a split, in stretches whose sums add up."""

from collections.abc import Iterator
from typing import NamedTuple

import torch

from raydl.core.grad import Task, forward
from raydl.core.tree import Params
from raydl.data.batches import Preparation
from raydl.data.dataset import Dataset, Split


class Score(NamedTuple):
    """Sums over the samples evaluated, so that scores add up.

    Attributes:
        loss: the sum of the samples' losses.
        correct: how many predictions (targets' entries, in a sequence) were right.
        predictions: how many there were.
        samples: how many samples.
    """

    loss: float = 0.0
    correct: int = 0
    predictions: int = 0
    samples: int = 0

    def __add__(self, other: "Score") -> "Score":  # type: ignore[override]
        return Score(
            self.loss + other.loss,
            self.correct + other.correct,
            self.predictions + other.predictions,
            self.samples + other.samples,
        )

    def means(self) -> dict[str, float]:
        """``loss`` and ``accuracy`` in [0, 1]; empty if nothing was evaluated."""
        if not self.samples:
            return {}
        return {"loss": self.loss / self.samples, "accuracy": self.correct / self.predictions}


class Stretch(NamedTuple):
    """A stretch of a split, the unit of evaluation: samples [start, stop)."""

    split: str
    start: int
    stop: int


_AT_ONCE = 250  # samples: few enough for a CNN's activations to stay in the cache
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
    score = Score()
    for inputs, targets in split.pieces(_AT_ONCE):
        outputs = forward(task, params, prepare(inputs))
        loss = task.loss(outputs, targets).sum(dtype=torch.float64)
        correct = (outputs.argmax(-1) == targets).sum()
        score += Score(float(loss), int(correct), targets.numel(), len(targets))
    return score
