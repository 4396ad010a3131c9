import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import CropFlip


def images(*shape: int, dtype: torch.dtype = torch.uint8) -> torch.Tensor:
    drawn = torch.randint(1, 256, shape, generator=torch.Generator().manual_seed(0))
    return drawn.to(dtype)


def by_torchvision(inputs: torch.Tensor, padding: int, flip: bool, seed: int) -> torch.Tensor:
    """Sample by sample, from the draws that CropFlip documents."""
    from torchvision.transforms import functional

    draws = torch.Generator().manual_seed(seed)
    tops, lefts = torch.randint(2 * padding + 1, (2, len(inputs)), generator=draws).tolist()
    flips = torch.randint(1 + flip, (len(inputs),), generator=draws).tolist()
    augmented = []
    for image, top, left, flipped in zip(inputs.movedim(-1, 1), tops, lefts, flips, strict=True):
        turned = functional.hflip(image) if flipped else image
        padded = functional.pad(turned, [padding])
        augmented.append(functional.crop(padded, top, left, *image.shape[1:]))
    return torch.stack(augmented).movedim(1, -1)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("padding", "flip"), [(4, True), (4, False), (0, True), (2, True)])
@pytest.mark.parametrize("shape", [(64, 32, 32, 3), (17, 28, 28, 1), (3, 5, 9, 4)])
def test_it_is_torchvisions_pad_crop_and_flip(shape, padding, flip, dtype):
    inputs = images(*shape, dtype=dtype)
    before = inputs.clone()
    augmented = CropFlip(padding, flip)(inputs, torch.Generator().manual_seed(7))
    assert augmented.dtype == dtype
    assert torch.equal(augmented, by_torchvision(inputs, padding, flip, 7))
    assert torch.equal(inputs, before)


def test_memory_may_lie_in_any_order():
    inputs = images(8, 3, 10, 12).permute(0, 2, 3, 1)
    augmented = CropFlip(2)(inputs, torch.Generator().manual_seed(7))
    assert torch.equal(augmented, by_torchvision(inputs, 2, True, 7))


def test_without_padding_and_flip_nothing_changes():
    inputs = images(8, 6, 6, 3)
    assert torch.equal(CropFlip(0, flip=False)(inputs, torch.Generator()), inputs)


def test_crops_are_uniform_and_half_are_flipped():
    column = torch.arange(1.0, 6.0).expand(20_000, 5, 5)[..., None].contiguous()
    middle = CropFlip(1)(column, torch.Generator().manual_seed(0))[:, 2, :, 0]
    flipped = middle[:, 1] > middle[:, 3]
    assert abs(flipped.float().mean() - 0.5) < 0.02
    shifts = middle[~flipped][:, 2].long().bincount(minlength=6)[2:5] / (~flipped).sum()
    assert (shifts - 1 / 3).abs().max() < 0.02


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpus_images_are_augmented_like_a_cpus():
    inputs = images(64, 32, 32, 3)
    augmented = CropFlip()(inputs.cuda(), torch.Generator().manual_seed(7))
    assert torch.equal(augmented.cpu(), by_torchvision(inputs, 4, True, 7))


def test_what_is_no_image_is_refused():
    with pytest.raises(SpecError, match="without images"):
        CropFlip()(torch.zeros(4, 10), torch.Generator())
    with pytest.raises(SpecError, match=r"augmentation\.padding"):
        CropFlip(padding=-1)
