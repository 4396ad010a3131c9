"""Reconstruction: the input is the target."""

from dataclasses import dataclass

from torch import Tensor

from raydl.core.errors import SpecError
from raydl.core.task import Inputs
from raydl.tasks.regression import Regression


@dataclass(frozen=True)
class Reconstruction(Regression):
    """The input itself, as the model sees it: an autoencoder; targets of the data are left alone.

    Outputs are of the inputs' shape.
    """

    def check(self, name: str, inputs: Inputs, targets: Tensor, classes: int | None) -> None:
        """Takes any targets, since it looks at none."""

    def outputs(self, classes: int | None, targets: Tensor) -> int:
        """What a model that asks for classes is told; one that reconstructs has the shape."""
        return classes or 1

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...]:
        """The inputs' own."""
        return tuple(targets.shape)

    def target(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """The inputs."""
        if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
            raise SpecError("task Reconstruction needs inputs that are one floating-point tensor")
        return inputs
