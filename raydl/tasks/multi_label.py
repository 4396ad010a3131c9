"""Multi-label classification: any number of labels of each sample."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from raydl.core.errors import SpecError, require
from raydl.core.task import Inputs, TaskSpec
from raydl.tasks import counting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LabelMetric: TypeAlias = Literal["auc", "calibration_error", "per_label"]


@dataclass(frozen=True)
class MultiLabel(TaskSpec):
    """Which labels each sample has, by binary cross-entropy, mean over the labels.

    Outputs are logits [B, labels], and targets float32 [B, labels] of 0 and 1. ``accuracy`` is the
    share of labels that are told rightly, ``exact`` that of samples with all of them, ``f1`` the
    mean over labels.

    Args:
        positive_weights: weight of what each label is due for, beside 1 of where it is not.
        metrics: further metrics: auc (macro), calibration_error, per_label (the F1 of each).
    """

    positive_weights: tuple[float, ...] | None = None
    metrics: tuple[LabelMetric, ...] = ()

    best: ClassVar[str] = "f1"
    higher_is_better: ClassVar[bool] = True
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy", "exact"})

    def __post_init__(self) -> None:
        weights = self.positive_weights
        positive = weights is None or min(weights, default=0.0) > 0
        require(positive, "task.positive_weights", weights, "above 0, one for each label")

    def outputs(self, classes: int | None, targets: Tensor) -> int:
        """One for each label."""
        return int(targets.shape[-1])

    def check(self, name: str, inputs: Inputs, targets: Tensor, classes: int | None) -> None:
        """Raises a SpecError unless the targets are 0 and 1, for each label of each sample."""
        if targets.dim() != 2 or not bool(((targets == 0) | (targets == 1)).all()):
            raise SpecError(
                f"{name} are {targets.dtype} {list(targets.shape)}; for MultiLabel they must be "
                "bool [n, labels], or 0 and 1"
            )
        weights = self.positive_weights
        if weights is not None:
            labels = targets.shape[1]
            fit = len(weights) == labels
            require(fit, "the number of task.positive_weights", len(weights), f"{labels} labels")

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...]:
        """One logit for each label."""
        return tuple(targets.shape)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The binary cross-entropy of each sample, mean over its labels."""
        weights = self.positive_weights
        positive = None if weights is None else torch.tensor(weights, device=outputs.device)
        each = binary_cross_entropy_with_logits(
            outputs, targets.float(), pos_weight=positive, reduction="none"
        )
        return each.mean(-1)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The share of labels that are told rightly, and whether all are."""
        right = ((outputs > 0) == (targets > 0.5)).float()
        return {"accuracy": right.mean(-1), "exact": right.amin(-1)}

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Of each label how often it was told rightly, told, and due; and what was asked for."""
        told, due = outputs > 0, targets > 0.5
        sums = {"agreement": torch.stack([(told & due).sum(0), told.sum(0), due.sum(0)]).double()}
        if "auc" in self.metrics:
            sums["above"] = counting.above(outputs.sigmoid(), due)
        if "calibration_error" in self.metrics:
            confidence = outputs.abs().sigmoid().flatten()
            right = (told == due).float().flatten()
            sums["calibration"] = counting.calibration(confidence, right)
        return sums

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """F1, and the metrics that were asked for."""
        right, told, due = statistics["agreement"]
        given = {"f1": counting.f1(statistics["agreement"])}
        if "auc" in self.metrics:
            given["auc"] = counting.area_under_curve(statistics["above"])
        if "calibration_error" in self.metrics:
            given["calibration_error"] = counting.calibration_error(statistics["calibration"])
        if "per_label" in self.metrics:
            each = (2 * right / (told + due)).tolist()
            given |= {f"f1_of_{number}": value for number, value in enumerate(each)}
        return given

    def figure(self, statistics: Mapping[str, Tensor], title: str) -> "Figure":
        """Precision and recall of each label."""
        from raydl.tasks.figures import plot_labels

        return plot_labels(statistics["agreement"].numpy(), title)

    def predictions(self, outputs: Tensor) -> dict[str, Tensor]:
        """Which labels are told, and the probability of each."""
        return {"prediction": (outputs > 0).long(), "probabilities": outputs.sigmoid()}
