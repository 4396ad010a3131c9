"""Models of dense layers, for inputs of any shape."""

from collections.abc import Sequence
from math import prod

from torch import nn


class Softmax(nn.Sequential):
    """Softmax regression: one linear layer.

    Args:
        shape: shape of one sample, of any number of dimensions.
        classes: number of outputs.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        super().__init__(nn.Flatten(), nn.Linear(prod(shape), classes))


class MLP(nn.Sequential):
    """Dense layers with ReLU between them.

    Args:
        shape: shape of one sample, of any number of dimensions.
        classes: number of outputs.
        hidden: widths of the hidden layers.
    """

    def __init__(self, shape: Sequence[int], classes: int, hidden: Sequence[int] = (64,)) -> None:
        layers: list[nn.Module] = [nn.Flatten()]
        width = prod(shape)
        for wider in hidden:
            layers += [nn.Linear(width, wider), nn.ReLU()]
            width = wider
        super().__init__(*layers, nn.Linear(width, classes))
