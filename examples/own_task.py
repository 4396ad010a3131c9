"""A task of one's own: quantile regression, with a loss and a metric that raydl does not know.

The model learns the value that 90 % of the targets stay below, by the pinball loss of R. Koenker,
G. Bassett, "Regression Quantiles", Econometrica 1978; ``coverage`` says how many do.

    python examples/own_task.py
    PYTHONPATH=examples raydl run --task own_task:Quantile --task.level 0.5 --data own_task:noisy
"""

from dataclasses import dataclass

import torch
from torch import Tensor

import raydl
from raydl.algorithms import FedAvg
from raydl.data import Tensors
from raydl.tasks import TaskSpec


@dataclass(frozen=True)
class Quantile(TaskSpec):
    """The value that a share of the targets stays below.

    Args:
        level: the share, in (0, 1).
    """

    level: float = 0.9

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each sample's pinball loss: all that a task must say."""
        errors = targets - outputs.squeeze(-1)
        return torch.maximum(self.level * errors, (self.level - 1) * errors)

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Whether each target stays below: its mean has a column in every table."""
        return {"coverage": (targets < outputs.squeeze(-1)).float()}


def noisy() -> Tensors:
    """Targets whose noise grows with the input."""
    draws = torch.Generator().manual_seed(0)
    inputs = torch.rand(4000, 1, generator=draws)
    noise = torch.randn(4000, generator=draws) * (0.1 + inputs[:, 0])
    return Tensors(inputs, torch.sin(6 * inputs[:, 0]) + noise)


if __name__ == "__main__":
    algorithm = FedAvg(lr=0.1, batch_size=20, epochs=2)
    run = raydl.Run(algorithm, noisy(), task=Quantile(), clients=20, rounds=30, runtime="batched")
    history = raydl.run(run)
    print(f"test coverage {100 * history.summary['test_coverage']:.1f} %")
