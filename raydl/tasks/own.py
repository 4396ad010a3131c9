"""The user's own tasks: a loss that is a function."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from raydl.core.task import TaskSpec


@dataclass(frozen=True)
class LossFunction(TaskSpec):
    """A task that is a function: (outputs, targets), [B, ...] each -> each sample's loss, [B]."""

    function: Callable[[Tensor, Tensor], Tensor]

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """What the function gives."""
        return self.function(outputs, targets)
