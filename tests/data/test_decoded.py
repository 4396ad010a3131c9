"""Folders of images and tables: what is decoded, and that it is the same however it is done."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torchvision.datasets import ImageFolder as Theirs

from raydl.core.errors import SpecError
from raydl.data import ImageFolder, Prepared, Tabular, prepare
from raydl.data.sources.decoded import DecodedSource, Survey
from raydl.data.sources.moments import Moments
from tests.command import done
from tests.data.test_prepared import PARTS, assert_same

COLUMNS = ["height", "width", "depth"]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Photographs of 12 × 10 pixels, PNG and deeper folders among them, of three classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        for number in range(30):
            folder = root / name / ("deep" if number % 2 else "")
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number:02}.png")
        (root / name / "notes.txt").touch()
    return root


@pytest.fixture(scope="module")
def table():
    """120 rows of features far from zero, and a name."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(1e7, 1, (120, 3)), columns=COLUMNS)
    return frame.assign(kind=rng.choice(["bee", "ant", "cat"], 120))


@pytest.fixture(scope="module")
def tables(tmp_path_factory, table):
    """The same rows in three files."""
    folder = tmp_path_factory.mktemp("tables")
    table[:50].to_csv(folder / "1.csv", index=False)
    table[50:90].to_parquet(folder / "2.parquet")
    table[90:].to_csv(folder / "3.csv", index=False)
    return folder


def test_images_are_torchvisions(images):
    ours, theirs = ImageFolder(str(images), validation=0, test=0).load(), Theirs(images)
    assert ours.shape == (3, 12, 10)
    assert (ours.name, ours.classes) == (images.name, len(theirs.classes))
    assert ours.train.targets.tolist() == theirs.targets
    for at in (0, 17, 89):
        assert np.array_equal(ours.train.inputs[at], np.array(theirs[at][0]))


def test_images_are_cropped_and_scaled(images):
    grey = ImageFolder(str(images), size=6, channels=1).load()
    assert grey.shape == (1, 6, 6)
    assert grey.train.inputs.dtype == torch.uint8
    assert [len(getattr(grey, part).targets) for part in PARTS] == [63, 9, 18]


@pytest.mark.parametrize("file", ["", "1.csv"])
def test_tables_are_pandas(tables, table, file):
    ours = Tabular(str(tables / file), "kind", validation=0, test=0).load()
    theirs = table[:50] if file else table
    expected = torch.tensor(theirs[COLUMNS].to_numpy(np.float32))
    assert torch.equal(ours.train.inputs, expected)
    assert (
        ours.train.targets.tolist() == theirs["kind"].map({"ant": 0, "bee": 1, "cat": 2}).tolist()
    )
    assert (ours.shape, ours.classes) == ((3,), 3)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_classes_that_are_numbers_keep_their_order(tmp_path, suffix):
    frame = pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0], "y": [10, 9, 100, 9]})
    (frame.to_csv if suffix == "csv" else frame.to_parquet)(tmp_path / f"a.{suffix}", index=False)
    loaded = Tabular(f"{tmp_path}/a.{suffix}", "y", validation=0, test=0).load()
    assert loaded.train.targets.tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_moments_are_torchs_however_samples_come(dtype):
    inputs = (torch.rand(200, 5, 3) * 255).to(dtype)
    if dtype == torch.float32:
        inputs += 1e7
    inputs[..., 2] = 7
    found = []
    for size in (1, 33, 200):
        moments = Moments()
        for batch in inputs.split(size):
            moments.add(batch)
        moments.add(inputs[:0])
        found.append(moments.mean_and_std())
    assert found[0] == found[1] == found[2]
    mean, std = map(torch.tensor, found[0])
    exact = inputs.double().flatten(0, 1)
    assert torch.allclose(mean.double(), exact.mean(0), rtol=1e-7)
    assert torch.allclose(std[:2].double(), exact.std(0, correction=0)[:2], rtol=1e-6)
    assert std[2] == 1  # so that nothing is divided by zero


def test_what_is_prepared_is_what_is_loaded(images, tables, tmp_path):
    for source in (ImageFolder(str(images), size=8), Tabular(str(tables), "kind")):
        folder = str(tmp_path / source.title)
        prepare(source, folder, 1000)
        assert_same(Prepared(folder).load(), source.load())


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cluster_writes_the_same_files(images, tables, tmp_path):
    from raydl.runtimes.ray_cluster.decoding import decode_on_cluster

    for source in (ImageFolder(str(images), size=8), Tabular(str(tables), "kind")):
        here, there = tmp_path / f"{source.title}-here", tmp_path / f"{source.title}-there"
        prepare(source, str(here), 1000)
        prepare(source, str(there), 1000, decode_on_cluster)
        for file in here.iterdir():
            assert file.read_bytes() == (there / file.name).read_bytes()
    (images / "ant/broken.png").write_bytes(b"no image")
    with pytest.raises(SpecError, match=r"^the image .*ant/broken\.png cannot be read: [^\n]*$"):
        prepare(ImageFolder(str(images)), str(tmp_path / "broken"), decode=decode_on_cluster)
    (images / "ant/broken.png").unlink()


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_command_has_a_cluster_decode(images, tmp_path):
    source = ("--data", "ImageFolder", "--data.root", images, "--data.size", 8)
    out = done("data", "prepare", tmp_path / "prepared", *source, "--ray")
    assert f"raydl run --data Prepared --data.uri {tmp_path}/prepared" in out
    loaded = ImageFolder(str(images), size=8).load()
    assert_same(Prepared(str(tmp_path / "prepared")).load(), loaded)


MISTAKES = {
    "2.png has 12 × 9 pixels, but .*1.png 12 × 10; set data.size": lambda folder: ImageFolder(
        str(folder / "images")
    ),
    "has no folders with images": lambda folder: ImageFolder(str(folder / "images/a")),
    "data.size is 0": lambda folder: ImageFolder("", size=0),
    "data.channels is 2": lambda folder: ImageFolder("", channels=2),
    "a local folder": lambda folder: ImageFolder("s3://bucket/images"),
    "there are no .csv or .parquet files": lambda folder: Tabular(str(folder / "images"), "y"),
    "column, 'z'.*Allowed: w, x, y": lambda folder: Tabular(str(folder / "a.csv"), "z"),
    "empty in 1 rows": lambda folder: Tabular(str(folder / "a.csv"), "w"),
    "a.csv cannot be read .*'w' has 1 empty": lambda folder: Tabular(str(folder / "a.csv"), "y"),
    "b.parquet cannot .*'s' is of type": lambda folder: Tabular(str(folder / "b.parquet"), "y"),
    "'x' is of type double, and classes": lambda folder: Tabular(str(folder / "b.parquet"), "x"),
    "data.validation is 1.0": lambda folder: Tabular("", "", validation=1.0),
}


@pytest.mark.parametrize("told", MISTAKES)
def test_mistakes_are_told(tmp_path, told):
    for name, size in (("1.png", (10, 12)), ("2.png", (9, 12))):
        (tmp_path / "images/a").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size).save(tmp_path / "images/a" / name)
    frame = pd.DataFrame({"w": [1.0, None], "x": [0.5, 1.5], "y": [0, 1]})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.assign(w=1, s="text").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(SpecError, match=told):
        MISTAKES[told](tmp_path).load()


@dataclass(frozen=True)
class Odd(DecodedSource):
    """Gives batches that are not what it told of."""

    shapes: tuple[int, ...]
    title = "Odd"

    def survey(self):
        return Survey(torch.arange(4) % 2, 2, [*self.shapes])

    def decode(self, piece):
        yield torch.zeros(2, piece)


@pytest.mark.parametrize(
    ("shapes", "told"), [((3,), "had 4 samples, of which 2"), ((3, 4), r"shape \(4,\).* \(3,\)")]
)
def test_what_differs_from_what_was_found_is_told(shapes, told, tmp_path):
    source = Odd(shapes=shapes, validation=0, test=0)
    with pytest.raises(SpecError, match=told):
        source.load()
    with pytest.raises(SpecError, match=told):
        prepare(source, str(tmp_path))
    assert not (tmp_path / "dataset.json").exists()
