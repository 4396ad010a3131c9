"""Runs side by side, as a table, as CSV, as JSON and as a figure."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from raydl.run_folder.results.comparison import StoredRun, by_kind, labels
from raydl.storage import Folder
from tests.command import SMALL, done, refused, summary


@pytest.fixture(scope="module")
def storage(tmp_path_factory) -> Path:
    """Two seeds of one run, and another one."""
    folder = tmp_path_factory.mktemp("runs")
    common = (*SMALL, "--rounds", 2, "--storage", folder)
    done("run", *common, "--name", "a")
    done("run", *common, "--name", "b", "--seed", 1)
    done("run", *common, "--name", "slower", "--algorithm.lr", 0.01, "--evaluation.test", "each")
    return folder


def cells(line: str) -> list[str]:
    return re.split(r"  +", line.strip())


def test_a_row_for_each_run_and_a_mean_over_seeds(storage):
    shown = done("show", "--storage", storage).splitlines()
    table = {name: figures for name, *figures in map(cells, shown)}
    assert {"a", "b", "slower", "mean of 2 seeds"} <= table.keys()
    a, b = (summary(storage / name) for name in "ab")
    assert table["a"][0] == f"{100 * a['test_accuracy']:.2f} %"
    scores = pd.Series([100 * each["test_accuracy"] for each in (a, b)])
    assert table["mean of 2 seeds"][0] == f"{scores.mean():.2f} ± {scores.std():.2f} %"


def test_only_what_differs_is_shown(storage):
    (header, *_) = csv.reader(io.StringIO(done("show", "--storage", storage, "--csv")))
    settings = [name for name in header if "." in name or name == "seed"]
    assert settings == ["algorithm.lr", "seed", "evaluation.test"]


def test_sorted_by_a_column(storage):
    def order(column: str) -> list[str]:
        text = done("show", "--storage", storage, "--csv", "--sort", column)
        return pd.read_csv(io.StringIO(text))["run"].tolist()

    scores = {name: summary(storage / name)["test_accuracy"] for name in ("a", "b", "slower")}
    assert order("test_accuracy") == sorted(scores, key=lambda name: -scores[name])
    assert order("algorithm.lr")[0] == "slower"
    assert "test_accuracy" in refused("show", "--storage", storage, "--sort", "test_acuracy")


def test_as_json(storage):
    given = [str(storage / name) for name in ("a", "slower")]
    shown = json.loads(done("show", *given, "--json"))
    assert list(shown) == given
    for run in given:
        assert shown[run]["summary"] == summary(Path(run))
        assert shown[run]["finished"]
    assert shown[given[1]]["settings"]["algorithm.lr"] == 0.01


def test_an_empty_storage_is_refused(tmp_path):
    assert "there is no run in" in refused("show", "--storage", tmp_path)


def test_a_run_of_before_is_shown(storage, tmp_path):
    """Whose run.yaml left numbers open, and whose summary did not say its metric."""
    old = tmp_path / "old"
    old.mkdir()
    settings = "algorithm: FedAvg\nclients: null\nrounds: null\nseed: 0\nname: old\n"
    (old / "run.yaml").write_text(settings)
    figures = summary(storage / "a")
    for name in ("metric", "higher_is_better", "shares", "stopped_early"):
        del figures[name]
    (old / "summary.json").write_text(json.dumps(figures))
    shown = done("show", old, storage / "a")
    assert shown.count(f"{100 * figures['test_accuracy']:.2f} %") == 2


def test_kinds_are_runs_that_differ_in_their_seeds_alone(storage):
    runs = [StoredRun.read(name, Folder(str(storage / name))) for name in ("a", "slower", "b")]
    groups = by_kind(runs)
    assert [[run.name for run in group] for group in groups] == [["a", "b"], ["slower"]]
    assert labels(groups) == ["lr 0.1, test end", "lr 0.01, test each"]


@pytest.mark.parametrize("x", ["round", "bytes_up", "wall_seconds"])
def test_a_figure(storage, x, tmp_path):
    file = tmp_path / "cmp.png"
    done("plot", "a", "b", "slower", "--storage", storage, "--x", x, "--out", file)
    assert file.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_what_cannot_be_drawn_is_refused(storage, tmp_path):
    own = ("--storage", storage)
    assert "val_loss" in refused("plot", "a", *own, "--y", "val_f1")
    assert "one of round, samples" in refused("plot", "a", *own, "--x", "bytes")
    assert "end in .png" in refused("plot", "a", *own, "--out", tmp_path / "a.gif")
    assert "needs one run" in refused("plot")
