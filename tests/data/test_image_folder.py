"""Images in a folder for each class, beside what torchvision makes of them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets
from torchvision.transforms import v2

from raydl.core.errors import SpecError
from raydl.data import ImageFolder
from raydl.data.batches import Preparation
from tests.command import done, refused, summary

COUNTS = {"cat": 9, "dog": 7, "emu": 4}


def write_images(root, counts=COUNTS, size=(12, 9)):
    draws = np.random.default_rng(0)
    for label, (name, count) in enumerate(counts.items()):
        (root / name / "more").mkdir(parents=True)
        for number in range(count):
            pixels = draws.integers(0, 40, (*size, 3), dtype=np.uint8) + np.uint8(70 * label)
            folder = root / name / ("more" if number == 0 else "")
            Image.fromarray(pixels).save(folder / f"{number:03}.png")
    return str(root)


def test_images_are_those_of_torchvision(tmp_path):
    root = write_images(tmp_path)
    Image.new("L", (30, 40), 77).save(tmp_path / "emu" / "grey.JPG")
    (tmp_path / "emu" / "notes.txt").write_text("no image")
    shown = v2.Compose([v2.Resize(8), v2.CenterCrop(8), v2.PILToTensor()])
    images, targets = zip(*datasets.ImageFolder(root, shown), strict=True)
    (tmp_path / ".cache").mkdir()
    kept = ImageFolder(root, size=8, validation=0, test=0).load()
    assert kept.train.inputs.dtype == torch.uint8
    assert torch.equal(kept.train.inputs.permute(0, 3, 1, 2), torch.stack(images))
    assert kept.train.targets.tolist() == [*targets]
    assert (kept.classes, kept.shape, kept.name) == (3, (3, 8, 8), tmp_path.name)
    seen = Preparation.of(kept, torch.device("cpu"))(kept.train.inputs).double()
    assert torch.allclose(seen.mean((0, 2, 3)), torch.zeros(3).double(), atol=1e-6)
    assert torch.allclose(seen.std((0, 2, 3), correction=0), torch.ones(3).double(), atol=1e-6)


def test_processes_read_the_same(tmp_path):
    root = write_images(tmp_path, {"a": 70, "b": 80}, (5, 5))
    one, other = (ImageFolder(root, 4, processes=each).load() for each in (0, 2))
    assert torch.equal(one.train.inputs, other.train.inputs)
    assert torch.equal(one.mean, other.mean)


def test_parts_may_have_folders(tmp_path):
    write_images(tmp_path / "train")
    write_images(tmp_path / "val", {"dog": 2})
    loaded = ImageFolder(str(tmp_path), size=4, test=0.2).load()
    assert [len(each.targets) for each in (loaded.train, loaded.validation, loaded.test)] == [
        16,
        2,
        4,
    ]
    assert loaded.validation.targets.tolist() == [1, 1]


def test_on_the_command_line(tmp_path):
    root = write_images(tmp_path / "pets")
    asked = ("--data=ImageFolder", f"--data.root={root}", "--data.size=8", "--clients=2")
    small = ("--runtime=sequential", "--rounds=20", "--participation.fraction=1")
    done("run", *asked, *small, "--storage", tmp_path, "--name=a")
    assert summary(tmp_path / "a")["test_accuracy"] > 0.7


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda root: root.rename(root.with_name("gone")), "data.root is .*; it must be a folder"),
        (lambda root: (root / "val").mkdir(), r"no folders in .*val; there must be one for each"),
        (lambda root: write_images(root / "test", {"cow": 1}), "'cow' is no class of the training"),
        (lambda root: (root / "train" / "gnu").mkdir(), "no images in .*gnu; it must have some"),
        (
            lambda root: (root / "train/cat/0.png").write_text("x"),
            "cannot identify image file .*0.p",
        ),
    ],
)
def test_a_folder_that_does_not_fit_is_told(tmp_path, spoil, told):
    root = tmp_path / "pets"
    write_images(root / "train")
    spoil(root)
    with pytest.raises(SpecError, match=told):
        ImageFolder(str(root), size=4).load()


def test_bad_options_are_told():
    assert "data.size is 0" in refused(
        "run", "--data=ImageFolder", "--data.root=.", "--data.size=0"
    )
    assert "a local folder" in refused("run", "--data=ImageFolder", "--data.root=s3://b/c")
