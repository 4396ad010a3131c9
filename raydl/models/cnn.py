"""Small convolutional networks, each in the very shape that published results used.

Where those apply ReLU and then max-pooling, these pool first: the outputs and the gradients are the
same numbers, and ReLU has a quarter of the values to go over.
"""

from collections.abc import Sequence

from torch import nn

from raydl.core.errors import SpecError


class MnistCNN(nn.Sequential):
    """Two 3×3 convolutions and two dense layers with dropout: 1,199,882 parameters on MNIST.

    The network of PyTorch's MNIST example.

    Args:
        shape: of one image, (C, H, W).
        classes: number of outputs.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        convolutions = [
            nn.Conv2d(_channels(shape), 32, 3),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3),
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
        super().__init__(
            *convolutions,
            nn.Dropout(0.25),
            nn.Flatten(),
            nn.Linear(_features(convolutions, shape), 128),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(128, classes),
        )


class CifarCNN(nn.Sequential):
    """Two 5×5 convolutions of 64 channels and three dense layers: 815,332 parameters on CIFAR-100.

    The network that J. Lin et al., "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020, and
    T. Hsu et al., "Federated Visual Classification with Real-World Data Distribution", ECCV 2020,
    use on CIFAR, with valid convolutions.

    Args:
        shape: of one image, (C, H, W).
        classes: number of outputs.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        convolutions = _two_convolutions(_channels(shape), 64, 64)
        features = _features(convolutions, shape)
        super().__init__(*convolutions, nn.Flatten(), *_dense(features, 384, 192, classes))


class LeNet(nn.Sequential):
    """LeNet 6-16-120-84: 62,006 parameters on CIFAR-10.

    Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-Based Learning Applied to Document
    Recognition", Proceedings of the IEEE 1998, with ReLU and max-pooling as PyTorch's CIFAR
    tutorial has it.

    Args:
        shape: of one image, (C, H, W).
        classes: number of outputs.
    """

    def __init__(self, shape: Sequence[int], classes: int) -> None:
        convolutions = _two_convolutions(_channels(shape), 6, 16)
        features = _features(convolutions, shape)
        super().__init__(*convolutions, nn.Flatten(), *_dense(features, 120, 84, classes))


def _two_convolutions(channels: int, first: int, second: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, first, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(first, second, 5),
        nn.MaxPool2d(2),
        nn.ReLU(),
    ]


def _dense(features: int, first: int, second: int, classes: int) -> list[nn.Module]:
    return [
        nn.Linear(features, first),
        nn.ReLU(),
        nn.Linear(first, second),
        nn.ReLU(),
        nn.Linear(second, classes),
    ]


def _channels(shape: Sequence[int]) -> int:
    if len(shape) != 3:
        raise SpecError(
            f"this model takes images (C, H, W), but a sample has the shape {tuple(shape)}; "
            "Softmax and MLP take any"
        )
    return shape[0]


def _features(convolutions: Sequence[nn.Module], shape: Sequence[int]) -> int:
    """The features that the convolutions leave of an image, channels included."""
    channels, height, width = shape
    for layer in convolutions:
        if isinstance(layer, nn.Conv2d):
            channels = layer.out_channels
            height, width = (side - layer.kernel_size[0] + 1 for side in (height, width))
        elif isinstance(layer, nn.MaxPool2d):
            height, width = (side // 2 for side in (height, width))
    if height < 1 or width < 1:
        raise SpecError(
            f"this model's convolutions leave nothing of images of {shape[1]}×{shape[2]}; use "
            "larger images, or Softmax or MLP, which take any"
        )
    return channels * height * width
