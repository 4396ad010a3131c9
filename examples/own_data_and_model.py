"""Own tensors and an own ``nn.Module``: two interleaved spirals, dealt unevenly to 20 clients."""

import torch
from torch import Tensor, nn

import raydl
from raydl import Model, Run
from raydl.algorithms import FedAvg
from raydl.data import QuantitySkew, Tensors, Uniform
from raydl.runtimes.local.spec import Sequential


class Spirals(nn.Module):
    """Two dense layers with a tanh.

    Args:
        classes: number of outputs; raydl fills it in from the data.
        width: of the hidden layer.
    """

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(2, width), nn.Linear(width, classes)

    def forward(self, points: Tensor) -> Tensor:
        """Logits [B, classes] of points [B, 2]."""
        return self.out(torch.tanh(self.hidden(points)))


def spirals(samples: int = 4000) -> Tensors:
    """Points [samples, 2] on two spirals, and which of them they lie on."""
    draws = torch.Generator().manual_seed(0)
    targets = torch.randint(2, (samples,), generator=draws)
    turn = 6 * torch.rand(samples, generator=draws).sqrt()
    angle = turn + torch.pi * targets
    points = torch.stack([turn * angle.cos(), turn * angle.sin()], 1)
    return Tensors(points + 0.1 * torch.randn(samples, 2, generator=draws), targets)


if __name__ == "__main__":
    history = raydl.run(
        Run(
            algorithm=FedAvg(lr=0.3, batch_size=20, momentum=0.9),
            data=spirals(),
            partition=QuantitySkew(alpha=1.0, min_size=20),
            participation=Uniform(0.5),
            model=Model(Spirals, {"width": 96}),
            clients=20,
            rounds=40,
            runtime=Sequential(),
        )
    )
    print(f"test accuracy {100 * history.summary['test_accuracy']:.1f} %")
