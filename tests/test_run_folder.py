"""What a run leaves in its folder, wherever that is."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.numpy import load, load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raydl import Checkpointing, Evaluation, History, Model, Run, run
from raydl.algorithms import FedAvg
from raydl.config import options
from raydl.data import Digits, Uniform
from raydl.run_folder.record import COLUMNS, SPLITS
from raydl.run_folder.sample import Sample
from raydl.runtimes.local.spec import Sequential
from raydl.storage import Folder
from raydl.tasks import Classification
from tests.command import SMALL, done, summary

TOTALS = ["samples", "epochs", "local_steps", "messages", "bytes_down", "bytes_up"]


@pytest.fixture(scope="module")
def spec(tmp_path_factory) -> Run:
    return Run(
        algorithm=FedAvg(epochs=2, batch_size=16),
        participation=Uniform(0.2),
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        clients=20,
        rounds=5,
        checkpoint=Checkpointing(every=1, keep=2),
        storage=str(tmp_path_factory.mktemp("runs")),
        name="whole",
    )


@pytest.fixture(scope="module")
def history(spec) -> History:
    return run(spec)


@pytest.fixture
def folder(history) -> Path:
    return Path(history.path)


def events(path: Path) -> EventAccumulator:
    board = EventAccumulator(str(path), size_guidance={"scalars": 0, "images": 0})
    return board.Reload()


def test_files(folder):
    assert sorted(each.name.partition("events.")[0] or "events" for each in folder.iterdir()) == [
        "best",
        "checkpoints",
        "curves.png",
        "events",
        "metrics.csv",
        "metrics.parquet",
        "predictions.png",
        "run.yaml",
        "summary.json",
    ]
    assert not list(folder.rglob("*.part"))
    assert sorted(each.name for each in (folder / "checkpoints").iterdir()) == ["000004", "000005"]


def test_metrics(history, folder, spec):
    table = pd.read_parquet(folder / "metrics.parquet")
    assert list(table.columns) == [
        *COLUMNS.names,
        *(f"{split}_{name}" for split in SPLITS for name in ("loss", "accuracy")),
    ]
    assert table["round"].tolist() == [1, 2, 3, 4, 5]
    for name in [*TOTALS, "wall_seconds", "simulated_seconds"]:
        assert table[name].is_monotonic_increasing, name
        assert table[name].iloc[0] > 0, name
    assert (table["simulated_seconds"] < table["wall_seconds"]).all()  # 4 clients side by side
    # 1,258 samples over 20 clients, 4 a round: 62 or 63 each, 4 minibatches of 16 an epoch.
    assert (table["clients"] == 4).all()
    assert (table["local_steps"] == 4 * 2 * 4 * table["round"]).all()
    assert table["samples"].between(2 * 62 * 4 * table["round"], 2 * 63 * 4 * table["round"]).all()
    np.testing.assert_allclose(table["epochs"], table["samples"] / 1258)
    parameters = 64 * 16 + 16 + 16 * 10 + 10
    assert (table["messages"] == 2 * 4 * table["round"]).all()
    for name in ("bytes_down", "bytes_up"):
        assert (table[name] == 4 * parameters * 4 * table["round"]).all()
    assert (table["dropped"] == 0).all()
    assert table["val_accuracy"].between(0, 1).all()
    assert table["val_accuracy"].iloc[-1] > table["val_accuracy"].iloc[0]
    assert table["test_accuracy"].notna().tolist() == [False] * 4 + [True]
    pd.testing.assert_frame_equal(table, history.table)


def test_metrics_as_csv_are_those_of_parquet(folder):
    table = pd.read_csv(folder / "metrics.csv")
    pd.testing.assert_frame_equal(table, pd.read_parquet(folder / "metrics.parquet"))


@pytest.mark.parametrize("name", ["curves", "predictions"])
def test_pictures_are_drawn(folder, name):
    assert (folder / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_a_history_is_read_back_and_told_in_short(history):
    again = History.load(history.path)
    pd.testing.assert_frame_equal(again.table, history.table)
    assert again.summary == history.summary
    assert all(torch.equal(each, history.params[name]) for name, each in again.params.items())
    reached = f"test accuracy {100 * history.summary['test_accuracy']:.2f} %"
    assert reached in repr(again)
    assert len(repr(again)) < 200
    assert f'<td style="text-align: left">{history.path}</td>' in again._repr_html_()
    panels = [axes.get_ylabel() for axes in again.plot().axes]
    assert panels == ["accuracy (%)", "loss", "clients reached (%)"]


def test_the_fingerprint_by_hand(history, folder):
    place = folder / "checkpoints/000005"
    about = json.loads((place / "checkpoint.json").read_text())
    assert about["round"] == 5
    assert about["sha256"] == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest()
        for file in place.glob("*.safetensors")
    }
    tensors = load_file(place / "model.safetensors")
    params = [f"{layer}.{kind}" for layer in (1, 3) for kind in ("bias", "weight")]
    digest = hashlib.sha256()
    for name in params:
        digest.update(tensors[name].astype("<f4").tobytes())
    assert history.summary["fingerprint"] == digest.hexdigest()


def test_summary(history, folder):
    written = summary(folder)
    assert written == history.summary
    last = history.table.iloc[-1]
    for name in [*TOTALS, "wall_seconds", "val_accuracy", "test_accuracy", "train_loss"]:
        assert written[name] == last[name]
    assert written["rounds"] == 5
    assert written["parameters"] == 64 * 16 + 16 + 16 * 10 + 10


def test_tensorboard_reads_the_events(history, folder, spec):
    board = events(folder)
    tags = board.Tags()
    for tag, column in {
        "accuracy/validation": "val_accuracy",
        "loss/training": "train_loss",
        "totals/bytes_up": "bytes_up",
    }.items():
        scalars = board.Scalars(tag)
        assert [each.step for each in scalars] == [1, 2, 3, 4, 5]
        np.testing.assert_allclose([each.value for each in scalars], history.table[column])
    assert tags["images"] == ["data/partition", "predictions/test"]
    for name in tags["images"]:
        assert board.Images(name)[0].encoded_image_string[:4] == b"\x89PNG"
    plugins = board.summary_metadata
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= plugins.keys()
    content = plugins["_hparams_/session_start_info"].plugin_data.content
    assert b"algorithm.batch_size" in content
    assert b"partition.name" in content
    (test,) = board.Scalars("accuracy/test")
    assert (test.step, test.value) == (5, pytest.approx(history.summary["test_accuracy"]))
    assert [each.value for each in board.Scalars("run/learning_rate")] == pytest.approx([0.1] * 5)
    seconds = [each.value for each in board.Scalars("run/seconds_per_round")]
    np.testing.assert_allclose(np.cumsum(seconds), history.table["wall_seconds"], rtol=1e-5)


def test_run_yaml_holds_the_spec_and_the_versions(folder, spec):
    written = yaml.safe_load((folder / "run.yaml").read_text())
    assert written.pop("versions")["torch"] == torch.__version__.partition("+")[0]
    assert Sample.from_mapping(written.pop("sample")) == Sample.of(
        Digits().load(), Classification()
    )
    assert options.from_mapping(written) == replace(
        spec, task=Classification(), evaluation=Evaluation(every=1)
    )


def test_run_yaml_repeats_the_run(history, folder, tmp_path):
    repeat = ("run", "--config", folder / "run.yaml", "--storage", tmp_path)
    done(*repeat, "--name", "again")
    assert summary(tmp_path / "again")["fingerprint"] == history.summary["fingerprint"]
    done(*repeat, "--name", "other", "--seed", 1)
    assert summary(tmp_path / "other")["fingerprint"] != history.summary["fingerprint"]


def test_a_run_without_a_name_gets_one(tmp_path):
    done("run", *SMALL, "--rounds", 1, "--storage", tmp_path)
    (only,) = tmp_path.iterdir()
    assert only.name.startswith("FedAvg-Digits-20")


@pytest.mark.pictures
def test_a_run_on_a_remote_file_system(history, spec, memory, tmp_path):
    remote = run(replace(spec, storage=memory))
    assert remote.path == f"{memory}/whole"
    assert remote.summary["fingerprint"] == history.summary["fingerprint"]
    folder = Folder(remote.path)
    assert folder.local is None
    assert json.loads(folder.read("summary.json")) == remote.summary
    saved = load(folder.read("checkpoints/000005/model.safetensors"))
    assert saved["1.weight"].shape == (16, 64)
    for name in filter(re.compile("events").match, folder.names()):
        (tmp_path / name).write_bytes(folder.read(name))
    assert len(events(tmp_path).Scalars("accuracy/validation")) == 5
    assert folder.read("curves.png")[:4] == b"\x89PNG"
    assert len(folder.read("metrics.csv").splitlines()) == 6

    longer = run(replace(spec, storage=memory, rounds=6), resume=True)
    assert longer.table["round"].tolist() == [1, 2, 3, 4, 5, 6]
    assert (folder / "checkpoints").names() == ["000005", "000006"]


@pytest.mark.parametrize(
    ("uri", "child", "parent"),
    [
        ("runs", "runs/a", "."),
        ("/data/runs/", "/data/runs/a", "/data"),
        ("/", "/a", "/"),
        ("file:///data/runs", "file:///data/runs/a", "file:///data"),
        (
            "s3://bucket/runs?endpoint_override=localhost:9000",
            "s3://bucket/runs/a?endpoint_override=localhost:9000",
            "s3://bucket?endpoint_override=localhost:9000",
        ),
    ],
)
def test_where_a_folder_is(uri, child, parent):
    folder = Folder(uri)
    assert (folder / "a").uri == child
    assert (folder / "a").name == "a"
    assert folder.parent == parent


@pytest.mark.parametrize("form", ["{}", "file://{}"])
def test_files_of_a_folder(form, tmp_path):
    folder = Folder(form.format(tmp_path)) / "new"
    assert folder.names() == []
    folder.make()
    folder.write("sub/a", b"1")
    folder.write("sub/a", b"2")
    folder.write("b", b"3")
    assert folder.local == tmp_path / "new"
    assert folder.names() == ["b", "sub"]
    assert (folder.read("sub/a"), folder.has("sub/a"), folder.has("c")) == (b"2", True, False)
    folder.remove("sub")
    folder.remove("b")
    assert folder.names() == []
