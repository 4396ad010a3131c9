"""Segmentation: one class of each pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from raydl.core.errors import require
from raydl.core.task import Inputs
from raydl.tasks.classification import Classification


@dataclass(frozen=True)
class Segmentation(Classification):
    """The class of each pixel, by cross-entropy; ``iou`` is the mean over classes.

    Outputs are logits [B, classes, H, W], and targets int64 [B, H, W].
    """

    best: ClassVar[str] = "iou"
    shares: ClassVar[frozenset[str]] = frozenset({"accuracy", "top5", "iou"})

    def check_shape(self, name: str, inputs: Inputs, targets: Tensor) -> None:
        """Raises a SpecError unless each pixel has a target."""
        shape = tuple(targets.shape)
        require(targets.dim() == 3, f"the shape of {name}", shape, "[n, H, W], a class of a pixel")

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...]:
        """One logit of each class, for each pixel."""
        return (len(targets), outputs, *targets.shape[1:])

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The mean cross-entropy of each image, [B]."""
        return super().losses(outputs.movedim(1, -1), targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The share of pixels whose likeliest class is the target."""
        return super().scores(outputs.movedim(1, -1), targets)

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """How often each class was predicted rightly, predicted and due; and what was asked for."""
        every = super().statistics(outputs.movedim(1, -1), targets)
        if "agreement" in every:
            return every
        with_f1 = Classification(ignore_index=self.ignore_index, metrics=("f1",))
        return every | with_f1.statistics(outputs.movedim(1, -1), targets)

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Intersection over union: mean over the classes that were met."""
        right, predicted, due = statistics["agreement"]
        union = predicted + due - right
        met = union > 0
        iou = float((right[met] / union[met]).mean())
        return {"iou": iou} | super().summarize(means, statistics)

    def predictions(self, outputs: Tensor) -> dict[str, Tensor]:
        """The likeliest class of each pixel."""
        return {"prediction": outputs.argmax(1)}
