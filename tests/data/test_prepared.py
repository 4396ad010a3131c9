"""Prepared data: what is mapped is what was written, and what was not is told before any work."""

import json
import pickle
import shutil
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from pyarrow import feather

from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.data import Dataset, Digits, Prepared, Split, Synthetic, Tensors, prepare
from raydl.data.batches import two_samples
from raydl.data.checks import check_dataset
from raydl.data.prepared import stored
from raydl.data.prepared.mapping import Place
from raydl.data.prepared.rows import Rows
from raydl.data.prepared.verify import verify

PARTS = ("train", "validation", "test")
ONE_FILE, SEVERAL = 1 << 28, 2000  # bytes of samples in a shard


def assert_same(one: Dataset, other: Dataset) -> None:
    assert (one.name, one.classes, one.shape) == (other.name, other.classes, other.shape)
    assert_leaves_same(vars(one), vars(other))


def assert_leaves_same(one: Any, other: Any) -> None:
    """Bit by bit, in trees that may hold None and splits."""
    if isinstance(one, Split):
        one, other = one._asdict(), other._asdict()
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_leaves_same(one[name], other[name])
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert one.shape == other.shape
        assert one.numpy().tobytes() == other.numpy().tobytes()
    else:
        assert one == other


def features() -> Dataset:
    """Floats of every kind: NaN with a payload, infinities, a negative zero."""
    bits = torch.randint(-(2**31), 2**31 - 1, (400, 7), dtype=torch.int32)
    bits[0] = torch.tensor([0x7FC00001, -(2**31), 0x7F800000, 1, 0, -1, 2])
    every = Split(bits.view(torch.float32), torch.arange(400) % 3)
    owners = torch.arange(400) // 4
    mean, std = torch.rand(7), torch.rand(7)
    return Dataset("features", every, every.none(), every.none(), 3, mean, std, owners)


def tokens() -> Dataset:
    inputs = tokens_of(300)
    every = Split(inputs, inputs.roll(1))
    scalar = torch.tensor(0.1)
    return Dataset("tokens", every, every.take(torch.arange(4)), every.none(), 80, scalar, scalar)


def several() -> Dataset:
    """Inputs by their names, some of them normalized, and numbers to predict."""
    inputs = {"image": torch.randint(0, 256, (300, 4, 5, 3)).byte(), "words.of": tokens_of(300)}
    every = Split(inputs, torch.rand(300, 2))
    mean, std = {"image": torch.rand(3)}, {"image": torch.rand(3)}
    return Dataset("several", every, every.none(), every.none(), None, mean, std)


def tokens_of(samples: int) -> torch.Tensor:
    return torch.randint(0, 80, (samples, 5))


@pytest.mark.parametrize("shard_bytes", [ONE_FILE, SEVERAL])
@pytest.mark.parametrize(
    "make",
    [Digits(test=0.6).load, Synthetic(samples=300, channels=3).load, features, tokens, several],
    ids=["digits", "colour", "features", "tokens", "several"],
)
def test_what_is_mapped_is_what_was_written(tmp_path, make, shard_bytes):
    written = make()
    prepare(written, str(tmp_path), shard_bytes)
    mapped = Prepared(str(tmp_path)).load()
    assert_same(mapped, written)
    assert [verdict.fault for verdict in verify(str(tmp_path)) if verdict.fault] == []
    assert all(isinstance(each, Rows) for _, each in tree.leaves(mapped.train.inputs))
    check_dataset(mapped)
    assert_leaves_same(two_samples(mapped)._asdict(), two_samples(written)._asdict())


@pytest.fixture(scope="module", params=[ONE_FILE, SEVERAL, "larger than memory"])
def digits(request, tmp_path_factory) -> tuple[torch.Tensor, torch.Tensor]:
    """The same samples in mapped files, and in memory."""
    folder = str(tmp_path_factory.mktemp("digits"))
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "larger than memory":
            patch.setattr("raydl.data.prepared.memory._SHARE", 0.0)
        shard_bytes = SEVERAL if isinstance(request.param, str) else request.param
        prepare(Digits(), folder, shard_bytes)
        return Prepared(folder).load().train.inputs, Digits().load().train.inputs


@pytest.mark.parametrize(
    "take",
    [
        lambda x: x[0],
        lambda x: x[-1],
        lambda x: x[5:900],
        lambda x: x[5:5],
        lambda x: x[::-7] if isinstance(x, Rows) else x.flip(0)[::7],
        lambda x: x[torch.tensor([3, 1000, 3])],
        lambda x: x[torch.empty(0, dtype=torch.int64)],
        lambda x: x[np.array([7, 8])],
        lambda x: x.index_select(0, torch.arange(len(x)).flip(0)),
        lambda x: x.to("cpu").index_select(0, torch.tensor([999])),
    ],
)
def test_samples_are_copied_as_from_a_tensor(digits, take):
    mapped, tensor = digits
    taken = take(mapped)
    assert type(taken) is torch.Tensor
    assert torch.equal(taken, take(tensor))
    taken.zero_()  # of a copy: the file is read-only, and to write to it would end the process
    assert torch.equal(mapped[:], tensor)


def test_shape_and_type_are_a_tensors(digits):
    mapped, tensor = digits
    assert isinstance(mapped, torch.Tensor)
    for ask in (len, torch.Tensor.dim, torch.Tensor.numel, torch.Tensor.is_floating_point):
        assert ask(mapped) == ask(tensor)
    for name in ("shape", "dtype", "ndim", "device", "layout", "requires_grad"):
        assert getattr(mapped, name) == getattr(tensor, name)


@pytest.mark.parametrize(
    "ask",
    [
        torch.Tensor.float,
        torch.Tensor.sum,
        torch.Tensor.clone,
        torch.isfinite,
        lambda x: torch.stack([x, x]),
        lambda x: x.permute(0, 3, 1, 2),
        lambda x: x.copy_(x),
        Rows.min,
    ],
)
def test_what_would_read_all_samples_is_refused(digits, ask):
    with pytest.raises(TypeError, match="take some"):
        ask(digits[0])


@pytest.mark.parametrize("index", [-1, 10_000])
def test_there_is_no_sample_of_such_a_number(digits, index):
    with pytest.raises(IndexError):
        digits[0].index_select(0, torch.tensor([0, index]))


def test_samples_are_brought_to_a_device(digits):
    """To torch's device for shapes, since others may not be here."""
    moved = digits[0].to("meta")
    assert moved.device.type == "meta"
    for taken in (moved[3], moved[3:5], moved.index_select(0, torch.tensor([3]))):
        assert taken.device.type == "meta"
    assert digits[0].device.type == "cpu"


def test_pickled_it_is_its_place(digits):
    pickled = pickle.dumps(digits[0])
    assert len(pickled) < 500
    assert torch.equal(pickle.loads(pickled)[:], digits[1])


def test_the_extremes_are_known_without_reading(tmp_path, monkeypatch):
    whole = tokens()
    prepare(whole, str(tmp_path), SEVERAL)
    written, mapped = whole.train.inputs, Prepared(str(tmp_path)).load().train.inputs
    monkeypatch.setattr(stored.StoredColumn, "copy", None)
    monkeypatch.setattr(stored.StoredColumn, "gather", None)
    assert (mapped.min(), mapped.max()) == (written.min(), written.max())
    assert (mapped.argmin(), mapped.argmax()) == (written.argmin(), written.argmax())


def test_shards_are_of_bounded_size(tmp_path):
    prepare(Digits(), str(tmp_path), 20_000)
    sizes = [file.stat().st_size for file in tmp_path.glob("train-*.arrow")]
    assert len(sizes) == -(-1258 // (20_000 // 72))  # of 64 pixels and a target
    assert max(sizes) < 20_000 + 2_000  # of what Arrow says of them


def test_uris_and_paths_name_the_same_folder(tmp_path, monkeypatch):
    prepare(Digits(), f"file://{tmp_path}/some/folder")
    monkeypatch.chdir(tmp_path)
    assert_same(Prepared("some/folder").load(), Prepared(f"{tmp_path}/some/folder/").load())


def test_writing_again_replaces_and_leaves_nothing_beside(tmp_path):
    prepare(features(), str(tmp_path), SEVERAL)
    before = Prepared(str(tmp_path)).load().train.inputs
    prepare(Digits(), str(tmp_path))
    names = {"dataset.json", *(f"{part}-00000.arrow" for part in PARTS)}
    assert {file.name for file in tmp_path.iterdir()} == names
    assert_same(Prepared(str(tmp_path)).load(), Digits().load())
    assert before[:].shape == (400, 7)  # whoever mapped what was there before still has it
    (tmp_path / "dataset.json").write_text("nonsense")
    prepare(Digits(), str(tmp_path))
    assert_same(Prepared(str(tmp_path)).load(), Digits().load())


def test_what_is_half_written_is_no_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr("raydl.data.prepared.write._AT_ONCE", 10)
    append, calls = torch.Tensor.numpy, iter(range(80))

    def fail(tensor):
        if next(calls, None) is None:
            raise OSError("no space left")
        return append(tensor)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "numpy", fail)
        with pytest.raises(SpecError, match="no space left"):
            prepare(Digits(), str(tmp_path), SEVERAL)
    assert not (tmp_path / "dataset.json").exists()
    with pytest.raises(SpecError, match=r"has no dataset\.json"):
        Prepared(str(tmp_path)).load()


def test_pandas_reads_it(tmp_path):
    prepare(Digits(), str(tmp_path))
    table, held = pd.read_feather(tmp_path / "test-00000.arrow"), Digits().load().test
    assert table["target"].tolist() == held.targets.tolist()
    images = np.stack(table["input"].to_list())
    assert images.dtype == np.uint8
    assert np.array_equal(images.reshape(-1, 8, 8, 1), held.inputs)


def test_arrow_says_what_the_shape_was(tmp_path):
    prepare(Digits(), str(tmp_path))
    schema = feather.read_table(tmp_path / "test-00000.arrow").schema
    assert schema.field("input").type.list_size == 64
    assert json.loads(schema.field("input").metadata[b"shape"]) == [8, 8, 1]
    assert schema.field("target").type == pa.int64()


def test_hugging_face_reads_it(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    prepare(Digits(), str(tmp_path / "digits"), SEVERAL)
    found = datasets.load_dataset(
        "arrow", data_dir=str(tmp_path / "digits"), cache_dir=str(tmp_path / "cache")
    )
    assert set(found) == set(PARTS)
    for part in PARTS:
        split, held = found[part].with_format("numpy"), getattr(Digits().load(), part)
        assert np.array_equal(split["target"][:], held.targets)
        assert np.array_equal(np.reshape(split["input"][:], held.inputs.shape), held.inputs)


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_ray_data_reads_it(tmp_path):
    import ray.data

    prepare(Digits(), str(tmp_path), SEVERAL)
    held = Digits().load().test
    files = [{"file": str(file)} for file in sorted(tmp_path.glob("test-*.arrow"))]
    context = ray.data.DataContext.get_current().copy()
    context.execution_options.preserve_order = True
    with ray.data.DataContext.current(context):
        read = ray.data.from_items(files).map_batches(
            lambda each: feather.read_table(each["file"][0]), batch_size=1
        )
    batches = list(read.iter_torch_batches(batch_size=100))
    assert torch.equal(torch.cat([each["target"] for each in batches]), held.targets)
    inputs = torch.cat([each["input"] for each in batches])
    assert inputs.dtype == torch.uint8
    assert torch.equal(inputs.reshape(held.inputs.shape), held.inputs)


@pytest.fixture
def folder(tmp_path):
    """A data set in several shards."""
    prepare(Synthetic(samples=500), str(tmp_path), 10_000)
    return tmp_path


def change(file, at: float, to: bytes = b"\0\1\2\3") -> None:
    content = bytearray(file.read_bytes())
    place = int(at * (len(content) - len(to)))
    content[place : place + len(to)] = to
    file.write_bytes(content)


DAMAGES = {
    "missing": lambda folder, file: file.unlink(),
    "has 100 bytes, but .* were written": lambda folder, file: file.write_bytes(b"\0" * 100),
    "has 0 bytes": lambda folder, file: file.write_bytes(b""),
    "is not what was written": lambda folder, file: change(file, 0.5),
    "another one's": lambda folder, file: shutil.copy(folder / "train-00000.arrow", file),
    r"dataset\.json is damaged": lambda folder, file: change(folder / "dataset.json", 0.2, b"]["),
    "its digest is another": lambda folder, file: (folder / "dataset.json").write_text(
        (folder / "dataset.json").read_text().replace('"classes": 10', '"classes": 11')
    ),
    "of another version": lambda folder, file: (folder / "dataset.json").write_text(
        '{"format": 99}'
    ),
}


@pytest.mark.parametrize("told", DAMAGES)
def test_damage_is_told_before_any_work(folder, told):
    DAMAGES[told](folder, folder / "train-00001.arrow")
    with pytest.raises(SpecError, match=rf"data\.uri is .*{told}"):
        Prepared(str(folder)).load()


def test_shards_of_another_data_set_are_told(folder, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    prepare(Synthetic(samples=500, seed=1), str(other), 10_000)
    shutil.copy(other / "test-00000.arrow", folder)
    with pytest.raises(SpecError, match=r"test-00000\.arrow is not what was written: another one"):
        Prepared(str(folder)).load()


def test_what_lies_deep_in_a_file_is_found_by_reading_all(tmp_path):
    prepare(Synthetic(samples=2000), str(tmp_path))
    change(tmp_path / "train-00000.arrow", 0.5)
    Prepared(str(tmp_path)).load()  # looks at the ends alone
    faults = [(each.shard.file, each.fault) for each in verify(str(tmp_path)) if each.fault]
    assert faults == [("train-00000.arrow", "is not what was written")]


def test_what_an_older_raydl_wrote_is_to_be_prepared_anew(tmp_path):
    (tmp_path / "train.parquet").touch()
    with pytest.raises(SpecError, match="older raydl prepared it, as Parquet; prepare it anew"):
        Prepared(str(tmp_path)).load()


def test_a_machine_without_the_folder_is_told_of(folder):
    place = Prepared(str(folder)).load().train.inputs.stored.place
    assert torch.equal(place.open()[:], Prepared(str(folder)).load().train.inputs[:])
    with pytest.raises(SpecError, match=r"no dataset\.json.*where the run has a worker.* share"):
        place._replace(uri=f"{folder}/nowhere").open()
    prepare(Digits(), str(folder))
    with pytest.raises(SpecError, match=r"holds another data set.*where the run has a worker"):
        place.open()


def test_a_place_is_little_to_send(folder):
    place = Prepared(str(folder)).load().train.inputs.stored.place
    assert isinstance(place, Place)
    assert len(pickle.dumps(place)) < 500


def test_types_that_cannot_be_mapped_are_refused(tmp_path):
    halves = Split(torch.zeros(4, 2, dtype=torch.bfloat16), torch.zeros(4, dtype=torch.int64))
    with pytest.raises(SpecError, match="type of data's inputs is 'bfloat16'; it must be one of"):
        prepare(Dataset("halves", halves, halves, halves, 1), str(tmp_path))


def test_what_no_run_would_take_is_not_written(tmp_path):
    wrong = Split(torch.zeros(4, 2), torch.zeros(5))
    with pytest.raises(SpecError, match="number of data's train targets is 5; it must be 4"):
        prepare(Dataset("wrong", wrong, wrong, wrong, 2), str(tmp_path))


def test_a_folder_that_cannot_be_written_is_refused_before_the_source_is_loaded(tmp_path):
    (tmp_path / "file").touch()
    never = Tensors(torch.zeros(1, 1), torch.tensor([-1]))
    with pytest.raises(SpecError, match=r"data\.uri"):
        prepare(never, str(tmp_path / "file" / "folder"))


@pytest.mark.parametrize("uri", ["", "nosuch://bucket/folder"])
def test_impossible_uris_are_refused(uri):
    with pytest.raises(SpecError, match=r"data\.uri"):
        Prepared(uri).load()
