"""The task that is usual for data, by its targets; and whether a task can learn them."""

import torch
from torch import Tensor

from raydl.core.task import Inputs, TaskSpec
from raydl.data.dataset import Dataset, Split
from raydl.data.gathered import Gathered
from raydl.tasks.classification import Classification
from raydl.tasks.multi_label import MultiLabel
from raydl.tasks.next_token import NextToken
from raydl.tasks.regression import Regression
from raydl.tasks.segmentation import Segmentation


def usual_task(inputs: Inputs, targets: Tensor) -> TaskSpec:
    """The task that such targets are usually for.

    Args:
        inputs: samples, [n, ...].
        targets: classes, int64 [n]; next tokens, int64 [n, T]; classes of pixels, int64 [n, H, W];
            labels, float32 [n, labels] of 0 and 1; or other numbers, float32 [n, ...].
    """
    if targets.is_floating_point():
        labels = targets.dim() == 2 and bool(((targets == 0) | (targets == 1)).all())
        return MultiLabel() if labels else Regression()
    if targets.dim() == 2 and isinstance(inputs, Tensor) and inputs.dtype == torch.int64:
        return NextToken()
    return Segmentation() if targets.dim() == 3 else Classification()


def check_targets(spec: TaskSpec, dataset: Dataset) -> None:
    """Raises a SpecError unless all targets of a data set can be learned by a task."""
    for name in ("train", "validation", "test"):
        split: Split = getattr(dataset, name)
        if isinstance(split.targets, Gathered):  # which are not all read for that
            split = split.take(split.targets.extreme_samples())
        if len(split.targets):
            spec.check(f"data's {name} targets", *split, dataset.classes)
