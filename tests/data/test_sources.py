import struct
from pathlib import Path

import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import CIFAR10, CIFAR100, EMNIST, MNIST, Digits, FashionMNIST


def write_idx(folder: Path, train: int, test: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Writes an image set in MNIST's format, and returns what it holds."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    held = {}
    for part, n in (("train", train), ("t10k", test)):
        images = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        head = struct.pack(">IIII", 0x803, n, 28, 28)
        (folder / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">II", 0x801, n)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
        held[part] = images, labels
    return held


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    reference = load_digits()
    whole = Digits(validation=0, test=0).load()
    assert np.array_equal(whole.train.inputs[..., 0], reference.images)
    assert np.array_equal(whole.train.targets, reference.target)
    assert whole.shape == (1, 8, 8)
    pixels = whole.train.inputs.double()
    assert (pixels.mean() - whole.mean).abs() < 1e-4
    assert (pixels.std(correction=0) - whole.std).abs() < 1e-4


def test_digits_are_split_by_default():
    split = Digits().load()
    sizes = [len(part.targets) for part in (split.train, split.validation, split.test)]
    assert sizes == [1258, 180, 359]


@pytest.mark.parametrize("source", [MNIST, FashionMNIST])
def test_idx_files_are_read_from_the_root(tmp_path, source):
    held = write_idx(tmp_path / source.__name__ / "raw", train=40, test=20)
    whole = source(str(tmp_path), validation=0).load()
    for split, (images, labels) in zip((whole.train, whole.test), held.values(), strict=True):
        assert np.array_equal(split.inputs[..., 0], images)
        assert np.array_equal(split.targets, labels)
    assert whole.train.inputs.shape == (40, 28, 28, 1)
    assert whole.name == source.__name__
    held_out = source(str(tmp_path), validation=0.25).load().validation
    assert sorted(held_out.targets.tolist()) == list(range(10))


@pytest.mark.parametrize(("part", "first", "classes"), [("balanced", 0, 47), ("letters", 1, 26)])
def test_emnist_is_upright_and_counts_from_0(part, first, classes, tmp_path):
    raw = tmp_path / "EMNIST" / "raw"
    held = write_idx(raw, train=40, test=20)
    for file in sorted(raw.iterdir()):
        named = file.name.replace("t10k", "test").replace("train", "train", 1)
        stored = bytearray(file.read_bytes())
        if "labels" in named:
            stored[8:] = bytes(each + first for each in stored[8:])
        file.rename(raw / f"emnist-{part}-{named}").write_bytes(stored)
    whole = EMNIST(str(tmp_path), validation=0, part=part).load()
    for split, (images, labels) in zip((whole.train, whole.test), held.values(), strict=True):
        assert np.array_equal(split.inputs[..., 0], images.transpose(0, 2, 1))
        assert np.array_equal(split.targets, labels)
    pixels = whole.train.inputs.double()
    assert (whole.classes, whole.name) == (classes, "EMNIST")
    assert whole.mean.item() == pytest.approx(pixels.mean().item())
    assert whole.std.item() == pytest.approx(pixels.std(correction=0).item())


def test_mnist_keeps_its_order_and_its_published_scale(mnist, data_root):
    from torchvision import datasets

    reference = datasets.MNIST(data_root, train=True)
    assert torch.equal(mnist.train.inputs[..., 0], reference.data)
    assert torch.equal(mnist.train.targets, reference.targets)
    pixels = mnist.train.inputs.double() / 255
    assert torch.allclose(mnist.mean / 255, torch.tensor([0.1307]))
    assert torch.allclose(mnist.std / 255, torch.tensor([0.3081]))
    assert abs(pixels.mean() - 0.1307) < 1e-4
    assert abs(pixels.std() - 0.3081) < 1e-4


def test_cifar100_is_torchvisions(data_root):
    from torchvision import datasets
    from torchvision.transforms.functional import to_tensor

    split = CIFAR100(data_root).load()
    counts = [part.targets.bincount() for part in (split.train, split.validation, split.test)]
    assert [each.unique().tolist() for each in counts] == [[450], [50], [100]]
    assert split.shape == (3, 32, 32)
    reference = datasets.CIFAR100(data_root, train=False)
    image, target = reference[17]
    assert torch.equal(split.test.inputs[17].permute(2, 0, 1).float() / 255, to_tensor(image))
    assert split.test.targets[17] == target
    pixels = split.train.inputs.double()
    assert (pixels.mean((0, 1, 2)) - split.mean).abs().max() < 0.2
    assert (pixels.std((0, 1, 2)) - split.std).abs().max() < 0.2


@pytest.mark.parametrize("source", [MNIST, FashionMNIST, EMNIST, CIFAR10, CIFAR100])
def test_a_root_without_the_data_is_explained(tmp_path, source):
    root = tmp_path / "a file, so that nothing can be downloaded to it"
    root.touch()
    with pytest.raises(SpecError, match=r"data\.root is .*read from .*Set data\.root") as raised:
        source(str(root)).load()
    assert str(root) in str(raised.value)
    assert source.__name__ in str(raised.value)


def test_damaged_files_are_refused(tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    write_idx(raw, train=40, test=20)
    images = raw / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1000])
    with pytest.raises(SpecError, match="MNIST could neither be read"):
        MNIST(str(tmp_path)).load()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Digits(validation=0.5, test=0.5),
        lambda: MNIST(validation=1.0),
        lambda: CIFAR10(root="s3://bucket/data"),
    ],
)
def test_impossible_fields_are_refused(wrong):
    with pytest.raises(SpecError, match="must be"):
        wrong()
