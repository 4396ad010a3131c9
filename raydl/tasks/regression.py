"""Regression: real numbers."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, sqrt
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn.functional import huber_loss

from raydl.core.errors import SpecError, require
from raydl.core.task import Inputs, TaskSpec
from raydl.tasks import counting

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Regression(TaskSpec):
    """One real number or several of each sample; a sample's loss is the mean over them.

    Outputs are [B, ...] as the targets; [B, 1] for targets [B] as well. ``mae`` is the mean
    absolute error, ``rmse`` the root of the mean squared one, ``r2`` the part of the variance that
    is explained, mean over the numbers that vary.

    Args:
        loss: squared error; absolute error; or huber, squared up to delta and absolute above.
        delta: error up to which huber is squared.
    """

    loss: Literal["squared", "absolute", "huber"] = "squared"
    delta: float = 1.0

    best: ClassVar[str] = "rmse"

    def __post_init__(self) -> None:
        require(0 < self.delta < inf, "task.delta", self.delta, "above 0")

    def outputs(self, classes: int | None, targets: Tensor) -> int:
        """As many numbers as a target has."""
        return targets[:1].numel()

    def check(self, name: str, inputs: Inputs, targets: Tensor, classes: int | None) -> None:
        """Raises a SpecError unless the targets are finite numbers."""
        finite = targets.isfinite()
        if not bool(finite.all()):
            wrong = int(finite.reshape(len(targets), -1).all(1).logical_not().nonzero()[0])
            raise SpecError(
                f"{name} hold a NaN or an infinity, first at sample {wrong}; leave such samples "
                "out, or put numbers in"
            )

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...]:
        """One number for each that a target has."""
        return (len(targets), 1) if targets.dim() == 1 else tuple(targets.shape)

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The error of each sample, mean over its numbers."""
        errors = _errors(outputs, targets)
        if self.loss == "squared":
            return errors.square().mean(-1)
        if self.loss == "absolute":
            return errors.abs().mean(-1)
        zero = torch.zeros_like(errors)
        return huber_loss(errors, zero, reduction="none", delta=self.delta).mean(-1)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """The absolute error of each sample, mean over its numbers."""
        return {"mae": _errors(outputs, targets).abs().mean(-1)}

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Samples; by number the sums of target, its square, squared error; and errors by size."""
        errors, targets = _errors(outputs, targets).double(), targets.double()
        targets = targets.reshape(errors.shape)
        return {
            "samples": torch.tensor(len(targets), dtype=torch.float64),
            "target": targets.sum(0),
            "target_squared": targets.square().sum(0),
            "error_squared": errors.square().sum(0),
            "within": counting.within(errors),
        }

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """The root of the mean squared error, and R²."""
        samples, total = statistics["samples"], statistics["target"]
        squared = statistics["error_squared"]
        variation = statistics["target_squared"] - total.square() / samples
        varies = variation > 0
        explained = 1 - squared[varies] / variation[varies]
        return {"rmse": sqrt(float((squared / samples).mean())), "r2": float(explained.mean())}

    def figure(self, statistics: Mapping[str, Tensor], title: str) -> "Figure":
        """The share of predictions within each error."""
        from raydl.tasks.figures import plot_errors

        return plot_errors(statistics["within"].numpy(), title)


def _errors(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs less targets, [B, numbers]."""
    targets = targets.reshape(len(targets), -1)
    return outputs.reshape(targets.shape) - targets
