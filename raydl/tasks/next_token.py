"""Next tokens: what comes next at each place of a sequence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.task import Inputs
from raydl.tasks.classification import Classification

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class NextToken(Classification):
    """The next token at each place of a sequence, by cross-entropy.

    Outputs are logits [B, T, tokens], and targets int64 [B, T]. Losses are means over tokens, not
    over sequences; ``perplexity`` is their exponential, ``bits_per_token`` what a token takes.

    Args:
        ignore_index: target that pads a sequence, and counts nowhere.
    """

    ignore_index: int | None = -100

    best: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False

    def check_shape(self, name: str, inputs: Inputs, targets: Tensor) -> None:
        """Raises a SpecError unless each token has a target."""
        shape, due = tuple(targets.shape), tuple(getattr(inputs, "shape", targets.shape))
        if targets.dim() != 2 or shape != due:
            raise SpecError(
                f"{name} are of shape {shape}; they must be the next tokens [n, T], of the inputs' "
                f"shape {due}"
            )

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Sums for the metrics that were asked for."""
        return super().statistics(outputs, targets) if self.metrics else {}

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Perplexity and bits, beside the metrics that were asked for."""
        loss = means["loss"]
        perplexity = math.exp(loss) if loss < 700 else math.inf
        of_loss = {"perplexity": perplexity, "bits_per_token": loss / math.log(2)}
        return of_loss | super().summarize(means, statistics)

    def figure(self, statistics: Mapping[str, Tensor], title: str) -> "Figure | None":
        """Nothing: tokens are too many to be drawn."""
        return None
