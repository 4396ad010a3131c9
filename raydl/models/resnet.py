"""ResNet-18 with GroupNorm, as federated learning uses it."""

from collections.abc import Sequence

from torch import Tensor, nn

from raydl.core.errors import require


class ResNet18(nn.Module):
    """torchvision's ResNet-18 with GroupNorm for BatchNorm, and a stem for small images.

    BatchNorm's statistics do not average well over clients whose data differ: K. Hsieh et al., "The
    Non-IID Data Quagmire of Decentralized Machine Learning", ICML 2020. Images of up to 64 pixels
    get a 3×3 stem of stride 1 without pooling, as is usual on CIFAR.

    Args:
        shape: of one image, (C, H, W).
        classes: number of outputs.
        groups: groups of each GroupNorm; must divide 64.
    """

    def __init__(self, shape: Sequence[int], classes: int, groups: int = 2) -> None:
        super().__init__()
        require(groups >= 1 and 64 % groups == 0, "model.groups", groups, "a divisor of 64")
        require(len(shape) == 3, "a sample's shape", tuple(shape), "(C, H, W) for ResNet18")
        from torchvision.models import resnet18  # 4 s that no other model should wait for

        network = resnet18(
            num_classes=classes, norm_layer=lambda channels: nn.GroupNorm(groups, channels)
        )
        small = max(shape[1:]) <= 64
        kernel, stride = (3, 1) if small else (7, 2)
        network.conv1 = nn.Conv2d(shape[0], 64, kernel, stride, kernel // 2, bias=False)
        if small:
            network.maxpool = nn.Identity()
        self.network = network

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [B, classes] of images [B, C, H, W]."""
        logits: Tensor = self.network(inputs)
        return logits
