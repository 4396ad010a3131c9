"""An autoencoder of dense layers, for inputs of any shape."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from raydl.core.errors import require


class Autoencoder(nn.Sequential):
    """Dense layers that narrow to a code, and the same widths back to the sample, with ReLU.

    G. Hinton, R. Salakhutdinov, "Reducing the Dimensionality of Data with Neural Networks", Science
    2006. Neither the code nor the output is bounded, as normalized inputs are not.

    Args:
        shape: shape of one sample, of any number of dimensions; the output has the same.
        widths: widths of the encoder's layers, of which the last is the code's.
    """

    def __init__(self, shape: Sequence[int], widths: Sequence[int] = (128, 32)) -> None:
        require(len(widths) > 0, "model.widths", widths, "one width or more")
        down = [prod(shape), *widths]
        super().__init__(
            nn.Sequential(nn.Flatten(), *_dense(down)),
            nn.Sequential(*_dense(down[::-1]), nn.Unflatten(-1, tuple(shape))),
        )


def _dense(widths: Sequence[int]) -> list[nn.Module]:
    """Linear layers of these widths, with ReLU between them."""
    layers: list[nn.Module] = []
    for width, following in pairwise(widths):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return layers[:-1]
