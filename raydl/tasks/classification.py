"""Classification: one class of each sample, or of each place in it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, TypeAlias

import torch
from torch import Tensor

from raydl.core.errors import SpecError, require
from raydl.core.task import Inputs, TaskSpec
from raydl.tasks import counting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ClassMetric: TypeAlias = Literal["top5", "f1", "auc", "calibration_error", "per_class"]
_DRAWN = 100  # classes of a confusion matrix at most


@dataclass(frozen=True)
class Classification(TaskSpec):
    """The class of each sample, by cross-entropy.

    Outputs are logits [B, ..., classes], and targets int64 [B, ...]; where a sample has several,
    its loss is the mean over them.

    Args:
        label_smoothing: part of the target that is spread evenly over all classes, in [0, 1).
        class_weights: weight of each class in the mean loss; all alike by default.
        ignore_index: target that is not to be predicted, and counts nowhere; none by default.
        metrics: metrics beside loss and accuracy: top5; f1 (macro); auc (each class against the
            others, macro); calibration_error; per_class (the accuracy of each class).
    """

    label_smoothing: float = 0.0
    class_weights: tuple[float, ...] | None = None
    ignore_index: int | None = None
    metrics: tuple[ClassMetric, ...] = ()

    best: ClassVar[str] = "accuracy"
    higher_is_better: ClassVar[bool] = True
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy", "top5"})

    def __post_init__(self) -> None:
        smoothing, weights = self.label_smoothing, self.class_weights
        require(0 <= smoothing < 1, "task.label_smoothing", smoothing, "in [0, 1)")
        positive = weights is None or min(weights, default=0.0) > 0
        require(positive, "task.class_weights", weights, "above 0, one for each class")

    def check(self, name: str, inputs: Inputs, targets: Tensor, classes: int | None) -> None:
        """Raises a SpecError unless the targets are classes of the data."""
        if targets.dtype != torch.int64 or classes is None:
            raise SpecError(
                f"the type of {name} is {targets.dtype}; for {type(self).__name__} it must be "
                "torch.int64, the number of a class; real numbers are learned with --task "
                "Regression, and several labels of a sample with --task MultiLabel"
            )
        self.check_shape(name, inputs, targets)
        weights = self.class_weights
        if weights is not None:
            fit = len(weights) == classes
            require(fit, "the number of task.class_weights", len(weights), f"{classes} classes")
        due = targets if self.ignore_index is None else targets[targets != self.ignore_index]
        if len(due):
            low, high = int(due.min()), int(due.max())
            allowed = f"in [0, {classes}): classes count from 0, and data has {classes}"
            if self.ignore_index is not None:
                allowed += f"; or {self.ignore_index}, which task.ignore_index leaves out"
            wrong = low if low < 0 else high
            require(0 <= wrong < classes, f"a class in {name}", wrong, allowed)

    def check_shape(self, name: str, inputs: Inputs, targets: Tensor) -> None:
        """Raises a SpecError unless each sample has one target."""
        if targets.dim() == 1:
            return
        shape, due = tuple(targets.shape), f"the number of each sample's class, [{len(targets)}]"
        told = f"{name} are of shape {shape}; they must be {due}"
        if targets[0].numel() == 1:
            raise SpecError(f"{told}: give targets.flatten()")
        if targets.dim() == 2 and bool(((targets == 0) | (targets == 1)).all()):
            if bool((targets.sum(1) == 1).all()):
                raise SpecError(f"{told}. These are one-hot: give targets.argmax(1)")
            raise SpecError(
                f"{told}. These are multi-hot, several classes for a sample: give targets.bool(), "
                "which --task MultiLabel learns"
            )
        raise SpecError(f"{told}; next tokens are learned with --task NextToken")

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...]:
        """One logit of each class, for each target."""
        return (*targets.shape, outputs)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The cross-entropy of each sample, [B]: of several targets the mean over them."""
        logs, due = outputs.log_softmax(-1), self._due(targets)
        # Under vmap this takes half the time of nn.functional.cross_entropy, and alone the same.
        each = -logs.gather(-1, (targets if due is None else targets * due).unsqueeze(-1))
        losses = each.squeeze(-1)
        if self.label_smoothing:
            losses = self._smoothed(losses, logs, targets if due is None else targets * due)
        return _over_places(losses, self._place_weights(targets, due))

    def weights(self, targets: Tensor) -> Tensor | None:
        """The weights of the classes that are due, summed over each sample."""
        each = self._place_weights(targets, self._due(targets))
        return each if each is None else each.flatten(1).sum(1) if each.dim() > 1 else each

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Whether the likeliest class is the target: ``accuracy``, and among five: ``top5``."""
        due = self._due(targets)
        counts = None if due is None else due.float()
        hits = {"accuracy": (outputs.argmax(-1) == targets).float()}
        if "top5" in self.metrics:
            likeliest = outputs.topk(min(5, outputs.shape[-1]), -1).indices
            hits["top5"] = (likeliest == targets.unsqueeze(-1)).any(-1).float()
        return {name: _over_places(each, counts) for name, each in hits.items()}

    def counts(self, targets: Tensor) -> Tensor | None:
        """How many of each sample's targets are to be predicted."""
        due = self._due(targets)
        return due if due is None else due.float().reshape(len(due), -1).sum(1)

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Sums for the metrics that were asked for, and the confusion matrix of some classes."""
        classes, due = outputs.shape[-1], self._due(targets)
        outputs, targets = outputs.reshape(-1, classes), targets.flatten()
        if due is not None:
            outputs, targets = outputs[due.flatten()], targets[due.flatten()]
        predicted, sums = outputs.argmax(-1), {}
        if classes <= _DRAWN:
            sums["confusion"] = counting.confusion(predicted, targets, classes)
        if {"f1", "per_class"} & {*self.metrics}:
            sums["agreement"] = counting.agreement(predicted, targets, classes)
        if {"auc", "calibration_error"} & {*self.metrics}:
            probabilities = outputs.softmax(-1)
            positive = targets.unsqueeze(-1) == torch.arange(classes, device=targets.device)
            confidence, right = probabilities.amax(-1), (predicted == targets).float()
            sums["calibration"] = counting.calibration(confidence, right)
            sums["above"] = counting.above(probabilities, positive)
        return sums

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """The metrics that were asked for, beside the scores."""
        given: dict[str, float] = {}
        if "f1" in self.metrics:
            given["f1"] = counting.f1(statistics["agreement"])
        if "auc" in self.metrics:
            given["auc"] = counting.area_under_curve(statistics["above"])
        if "calibration_error" in self.metrics:
            given["calibration_error"] = counting.calibration_error(statistics["calibration"])
        if "per_class" in self.metrics:
            right, _, due = statistics["agreement"]
            shares = (right / due).tolist()
            given |= {f"accuracy_of_{number}": share for number, share in enumerate(shares)}
        return given

    def figure(self, statistics: Mapping[str, Tensor], title: str) -> "Figure | None":
        """The confusion matrix."""
        if "confusion" not in statistics:
            return None
        from raydl.tasks.figures import plot_confusion

        return plot_confusion(statistics["confusion"].numpy(), title)

    def predictions(self, outputs: Tensor) -> dict[str, Tensor]:
        """The likeliest class, and the probability of each."""
        probabilities = outputs.softmax(-1)
        return {"prediction": probabilities.argmax(-1), "probabilities": probabilities}

    def _due(self, targets: Tensor) -> Tensor | None:
        return None if self.ignore_index is None else targets != self.ignore_index

    def _place_weights(self, targets: Tensor, due: Tensor | None) -> Tensor | None:
        """What each target counts, [B, ...]; None if all count alike."""
        if self.class_weights is None:
            return due if due is None else due.float()
        weights = torch.tensor(self.class_weights, device=targets.device)
        return weights[targets] if due is None else weights[targets * due] * due

    def _smoothed(self, losses: Tensor, logs: Tensor, targets: Tensor) -> Tensor:
        """Losses against targets of which a part is spread over all classes."""
        smoothing = self.label_smoothing
        if self.class_weights is None:
            return (1 - smoothing) * losses - smoothing * logs.mean(-1)
        # As torch has it: what is spread over a class counts by its weight, and the mean is over
        # the weights of the targets.
        weights = torch.tensor(self.class_weights, device=logs.device)
        spread = (logs * weights).mean(-1) / weights[targets]
        return (1 - smoothing) * losses - smoothing * spread


def _over_places(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of each sample's values, [B]."""
    if values.dim() == 1:
        return values
    values = values.flatten(1)
    if weights is None:
        return values.mean(1)
    weights = weights.flatten(1)
    return (values * weights).sum(1) / weights.sum(1).clamp(min=torch.finfo(weights.dtype).tiny)
