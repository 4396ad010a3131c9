"""Random changes of training images, whole batches at a time."""

from dataclasses import dataclass

import torch
from torch import Tensor

from raydl.core.errors import require
from raydl.core.spec import Spec


@dataclass(frozen=True)
class CropFlip(Spec, field="augmentation"):
    """A random crop after zero padding, and a horizontal flip of every other image on average.

    As usual for CIFAR. The images are padded as stored, before they are normalized: with black.

    Args:
        padding: pixels added on each side before the crop; 0 for no crop.
        flip: whether images are flipped with probability one half.
    """

    padding: int = 4
    flip: bool = True

    def __post_init__(self) -> None:
        require(self.padding >= 0, "augmentation.padding", self.padding, "0 or larger")

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Drawn in this order, for all images at once: rows to skip and columns to skip of the padded
        image, [2, B], each 0 to 2 * padding; then 1 for each image to flip before it is padded,
        [B].

        Args:
            inputs: images [B, H, W, C] of any type, on any device.
            generator: where the draws come from; it may be on another device.

        Returns:
            New images of the same shape, type and device.
        """
        images = isinstance(inputs, Tensor) and inputs.ndim == 4
        require(images, "augmentation", "CropFlip", "left out for data without images")
        batch, height, width, channels = inputs.shape
        padding, device, drawn_on = self.padding, inputs.device, generator.device
        skips = torch.randint(2 * padding + 1, (2, batch), generator=generator, device=drawn_on)
        flips = torch.randint(1 + self.flip, (batch,), generator=generator, device=drawn_on)
        (top, left), flipped = skips.to(device), flips.to(device)

        # Every image and its mirror image on a canvas of their own; then each row of the result is
        # one run of memory, and index_select copies all of them.
        tall, wide = height + 2 * padding, width + 2 * padding
        canvas = inputs.new_zeros(1 + self.flip, batch, tall, wide, channels)
        inner = canvas[:, :, padding : padding + height, padding : padding + width]
        inner[0] = inputs
        if self.flip:
            inner[1] = inputs.flip(2)
        pixels = canvas.numel() // channels
        runs = canvas.as_strided((pixels - width + 1, width * channels), (channels, 1))
        first_row = (flipped * batch + torch.arange(batch, device=device)) * tall + top
        rows = first_row[:, None] + torch.arange(height, device=device)
        starts = rows * wide + left[:, None]
        return runs.index_select(0, starts.flatten()).view(inputs.shape)
