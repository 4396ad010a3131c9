import shutil

import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Dataset, Digits, Parquet, Split, Synthetic, Tensors, prepare

PARTS = ("train", "validation", "test")


def assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.name, one.classes, one.shape) == (other.name, other.classes, other.shape)
    pairs = [
        (left, right)
        for part in PARTS
        for left, right in zip(getattr(one, part), getattr(other, part), strict=True)
    ]
    pairs += [(one.mean, other.mean), (one.std, other.std), (one.owners, other.owners)]
    for left, right in pairs:
        if left is None or right is None:
            assert left is right
        else:
            assert left.dtype == right.dtype
            assert left.shape == right.shape
            assert left.numpy().tobytes() == right.numpy().tobytes()


def features() -> Dataset:
    """Floats of every kind: NaN with a payload, infinities, a negative zero."""
    bits = torch.randint(-(2**31), 2**31 - 1, (40, 7), dtype=torch.int32)
    bits[0] = torch.tensor([0x7FC00001, -(2**31), 0x7F800000, 1, 0, -1, 2])
    every = Split(bits.view(torch.float32), torch.arange(40) % 3)
    owners = torch.arange(40) // 4
    mean, std = torch.rand(7), torch.rand(7)
    return Dataset("features", every, every.none(), every.none(), 3, mean, std, owners)


def tokens() -> Dataset:
    inputs = torch.randint(0, 80, (30, 5))
    every = Split(inputs, inputs.roll(1))
    scalar = torch.tensor(0.1)
    return Dataset("tokens", every, every.take(torch.arange(4)), every.none(), 80, scalar, scalar)


@pytest.mark.parametrize(
    "dataset",
    [Digits().load, Synthetic(samples=300, channels=3).load, features, tokens],
    ids=["digits", "colour", "features", "tokens"],
)
def test_what_is_read_is_what_was_written(tmp_path, dataset):
    written = dataset()
    prepare(written, str(tmp_path))
    assert_same(Parquet(str(tmp_path)).load(), written)


def test_many_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("raydl.data.sources.parquet._CHUNK", 1000)
    prepare(Digits(), str(tmp_path))
    assert_same(Parquet(str(tmp_path)).load(), Digits().load())


def test_uris_and_paths_name_the_same_folder(tmp_path, monkeypatch):
    prepare(Digits(), f"file://{tmp_path}/some/folder")
    monkeypatch.chdir(tmp_path)
    assert_same(Parquet("some/folder").load(), Parquet(f"{tmp_path}/some/folder/").load())


def test_writing_again_replaces_and_leaves_nothing_beside(tmp_path):
    prepare(features(), str(tmp_path))
    prepare(Digits(), str(tmp_path))
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(f"{p}.parquet" for p in PARTS)
    assert_same(Parquet(str(tmp_path)).load(), Digits().load())


def test_other_tools_can_read_it(tmp_path):
    import pandas as pd

    prepare(Digits(), str(tmp_path))
    table = pd.read_parquet(tmp_path / "test.parquet")
    held = Digits().load().test
    assert table["target"].tolist() == held.targets.tolist()
    assert table["input"][3] == held.inputs[3].numpy().tobytes()


def test_nothing_there_is_explained(tmp_path):
    with pytest.raises(SpecError, match=r"data\.uri is .*raydl\.data\.prepare"):
        Parquet(str(tmp_path)).load()


def test_files_of_two_data_sets_are_refused(tmp_path):
    prepare(Digits(), str(tmp_path / "one"))
    prepare(Digits(split_seed=1), str(tmp_path / "other"))
    shutil.copy(tmp_path / "other" / "test.parquet", tmp_path / "one" / "test.parquet")
    with pytest.raises(SpecError, match="different data sets"):
        Parquet(str(tmp_path / "one")).load()


@pytest.mark.parametrize("place", [0.01, 0.3, 0.6, 0.85])
def test_damage_is_noticed(tmp_path, place):
    prepare(Synthetic(samples=500), str(tmp_path))
    file = tmp_path / "train.parquet"
    data = bytearray(file.read_bytes())
    data[int(place * len(data))] ^= 0xFF
    file.write_bytes(data)
    with pytest.raises(SpecError, match="cannot be used"):
        Parquet(str(tmp_path)).load()


def test_a_folder_that_cannot_be_written_is_refused_before_the_source_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    never = Tensors(torch.zeros(1, 1), torch.tensor([-1]))
    with pytest.raises(SpecError, match=r"data\.uri"):
        prepare(never, str(tmp_path / "file" / "folder"))


@pytest.mark.parametrize("uri", ["", "nosuch://bucket/folder"])
def test_impossible_uris_are_refused(uri):
    with pytest.raises(SpecError, match=r"data\.uri"):
        Parquet(uri).load()
