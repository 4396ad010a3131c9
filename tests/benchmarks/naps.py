"""Work that takes time and no processor."""

import time
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Nap:
    """An augmentation that changes nothing, and takes so many seconds."""

    seconds: float

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """The inputs."""
        time.sleep(self.seconds)
        return inputs
