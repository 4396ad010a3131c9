"""Parts of a run that a test can tell something by, named as a user's own are."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from raydl.data import Dataset, Digits, Split


@dataclass(frozen=True)
class Logged:
    """The digits, with a line in a file for each time that they were loaded."""

    log: str

    def load(self) -> Dataset:
        with Path(self.log).open("a") as file:
            file.write("loaded\n")
        return Digits().load()


@dataclass(frozen=True)
class Plane:
    """A table of numbers: a linear function of 4 features, with noise of a standard deviation."""

    noise: float = 0.1

    def load(self) -> Dataset:
        generator = torch.Generator().manual_seed(0)
        inputs = torch.randn(600, 4, generator=generator)
        slope = torch.tensor([1.0, -2.0, 0.5, 0.0])
        targets = inputs @ slope + self.noise * torch.randn(600, generator=generator)
        parts = [Split(inputs[at : at + 200], targets[at : at + 200]) for at in (0, 200, 400)]
        return Dataset("Plane", *parts, classes=None)


@dataclass(frozen=True)
class Held:
    """An augmentation that changes nothing, but waits for as long as there is a file."""

    file: str

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        while Path(self.file).exists():
            time.sleep(0.01)
        return inputs


class Deadly(nn.Module):
    """A model that takes the process with it in which it is trained."""

    def __init__(self, shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.layer = nn.Linear(shape[1] * shape[2], classes)

    def forward(self, inputs):
        if self.training:
            os._exit(1)
        return self.layer(inputs.flatten(1))
