"""What is decoded piece by piece: the same whoever does it, and however it is written."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from raydl.core.errors import SpecError
from raydl.data import ImageFolder, Prepared, Table, prepare
from raydl.data.sources.decoded import DecodedSource, Survey
from raydl.data.sources.moments import Moments
from tests.command import done
from tests.data.test_prepared import assert_same


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Photographs of different sizes, of three classes."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for name in ("ant", "bee", "cat"):
        (root / name).mkdir()
        for number in range(30):
            pixels = rng.integers(0, 256, (12 + number, 10, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Rows in three files: numbers far from zero, whole ones that others are not, flags, words."""
    folder, rng = tmp_path_factory.mktemp("tables"), np.random.default_rng(0)
    frame = pd.DataFrame(
        {"height": rng.normal(1e7, 1, 300), "width": rng.integers(0, 9, 300) + 0.0}
    )
    frame["flat"], frame["kind"] = rng.random(300) < 0.5, rng.choice(["bee", "ant", "cat"], 300)
    frame["price"], frame["whose"] = rng.random(300), [f"owner {n % 7}" for n in range(300)]
    frame.loc[200:, "width"] += 0.5
    frame.loc[120:, "kind"] = "dog"
    frame[:100].astype({"width": int}).to_csv(folder / "1.csv", index=False)
    frame[100:170].to_parquet(folder / "2.parquet", row_group_size=20)
    frame[170:].to_csv(folder / "3.csv", index=False)
    return folder


@pytest.fixture(params=["images", "rows", "classes"])
def source(request, images, tables) -> DecodedSource:
    return {
        "images": ImageFolder(str(images), size=8),
        "rows": Table(str(tables), "price", owner="whose", test_uri=f"{tables}/1.csv"),
        "classes": Table(str(tables), "kind", ("height", "flat"), standardize=False),
    }[request.param]


def test_what_is_prepared_is_what_is_loaded(source, tmp_path):
    prepare(source, str(tmp_path), 1000)
    assert_same(Prepared(str(tmp_path)).load(), source.load())


def test_several_files_are_one_table(tables):
    read = {".csv": pd.read_csv, ".parquet": pd.read_parquet}
    parts = [read[file.suffix](file) for file in sorted(tables.iterdir())]
    frame = pd.concat(parts, ignore_index=True)
    kept = Table(str(tables), "price", owner="whose", validation=0, test=0).load()
    expected = pd.get_dummies(frame.drop(columns=["price", "whose"]))
    assert np.array_equal(kept.train.inputs, expected.to_numpy(np.float32))
    assert np.array_equal(kept.owners, pd.factorize(frame["whose"], sort=True)[0])
    assert kept.name == tables.name


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cluster_writes_the_same_files(source, tmp_path):
    from raydl.assembly.decoding import decode_on_cluster

    here, there = tmp_path / "here", tmp_path / "there"
    prepare(source, str(here), 1000)
    prepare(source, str(there), 1000, decode_on_cluster)
    for file in here.iterdir():
        assert file.read_bytes() == (there / file.name).read_bytes()


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_cluster_cannot_decode_is_told(images, tmp_path):
    from raydl.assembly.decoding import decode_on_cluster

    broken = images / "ant/broken.png"
    broken.write_bytes(b"no image")
    try:
        with pytest.raises(SpecError, match=r"^the image .*ant/broken\.png cannot be .*[^\n]*$"):
            prepare(ImageFolder(str(images)), str(tmp_path / "broken"), decode=decode_on_cluster)
    finally:
        broken.unlink()
    assert not (tmp_path / "broken/dataset.json").exists()


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_command_has_a_cluster_decode(images, tmp_path):
    source = ("--data", "ImageFolder", "--data.root", images, "--data.size", 8)
    out = done("data", "prepare", tmp_path / "prepared", *source, "--ray")
    assert f"raydl run --data Prepared --data.uri {tmp_path}/prepared" in out
    loaded = ImageFolder(str(images), size=8).load()
    assert_same(Prepared(str(tmp_path / "prepared")).load(), loaded)


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
        found.append(torch.stack(moments.mean_and_std()))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    mean, std = found[0].double()
    exact = inputs.double().flatten(0, 1)
    assert torch.allclose(mean, exact.mean(0), rtol=1e-7)
    assert torch.allclose(std[:2], exact.std(0, correction=0)[:2], rtol=1e-6)
    assert std[2] == 1  # so that nothing is divided by zero


@dataclass(frozen=True)
class Odd(DecodedSource):
    """Gives batches that are not what it told of."""

    widths: tuple[int, ...]
    validation: float = 0.0
    test: float = 0.0
    split_seed: int = 0

    def survey(self):
        return Survey("Odd", torch.arange(4) % 2, 2, (4, 0, 0), self.widths)

    def decode(self, piece):
        yield torch.zeros(2, piece)


@pytest.mark.parametrize(
    ("widths", "told"),
    [((3,), "Odd had 4 samples, of which 2"), ((3, 4), r"of shape \[4\].* of shape \[3\]")],
)
def test_what_differs_from_what_was_found_is_told(widths, told, tmp_path):
    with pytest.raises(SpecError, match=told):
        prepare(Odd(widths), str(tmp_path))
    assert not (tmp_path / "dataset.json").exists()
