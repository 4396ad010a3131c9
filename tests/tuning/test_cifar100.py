"""The CIFAR-100 studies at their smallest scale: every table and plot, and taking them up again."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from tests.command import until
from tuning.cifar100.asynchronous import asynchronous
from tuning.cifar100.centralized import centralized, draw_curves
from tuning.cifar100.large_batch import draw, large_batch, over_batches
from tuning.cifar100.local_steps import local_steps
from tuning.cifar100.protocol import chosen

STUDIES = {
    centralized: (["curves.png"], 3),
    large_batch: (["large_batch.png"], 12),
    local_steps: (["local_steps.png"], 8),
    asynchronous: (["asynchronous.png", "histories.csv"], 10),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[Callable[..., None]], Path]:
    """The folder of a study that was done in one go."""

    @cache
    def folder(study: Callable[..., None]) -> Path:
        path = tmp_path_factory.mktemp(study.__name__)
        study(output=str(path), scale="smoke")
        return path

    return folder


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_the_smoke_scale_writes_its_table_and_plot(study, whole, tmp_path, capsys):
    files, rows = STUDIES[study]
    written = sorted(each.name for each in whole(study).iterdir())
    assert written == sorted([*files, "results.csv", "runs", "tables.md"])
    results = pd.read_csv(whole(study) / "results.csv")
    assert len(results) == rows
    assert set(results["outcome"]) == {"finished"}
    # One of centralized is done twice, and at this scale s = 16 never holds anybody back.
    assert results["fingerprint"].nunique() >= rows - (2 if study is asynchronous else 1)
    tables = (whole(study) / "tables.md").read_text()

    for table in whole(study).glob("*.csv"):
        shutil.copy(table, tmp_path)
    study(output=str(tmp_path), scale="smoke")  # every row is there: nothing is run
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "tables.md").read_text() == tables
    assert tables in capsys.readouterr().out


def test_a_signal_stops_the_processes_and_the_same_command_goes_on(whole, tmp_path):
    argv = [sys.executable, "-m", "tuning.cifar100", "local_steps", "--scale", "smoke"]
    argv += ["--output", str(tmp_path), "--processes", "2"]
    process = subprocess.Popen(
        argv, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        until((tmp_path / "results.csv").exists)
        os.killpg(process.pid, signal.SIGINT)  # as Ctrl-C does
        _, told = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert told.startswith("stopped after round ")
    assert told.endswith("; the same command goes on with the study\n")
    assert len(told.splitlines()) == 1
    assert 1 <= len(pd.read_csv(tmp_path / "results.csv")) < 8

    local_steps(output=str(tmp_path), scale="smoke")
    stopped, undisturbed = (
        pd.read_csv(folder / "results.csv").sort_values("name")
        for folder in (tmp_path, whole(local_steps))
    )
    assert list(stopped["fingerprint"]) == list(undisturbed["fingerprint"])


def test_the_command_refuses_in_one_line(tmp_path):
    argv = ["-m", "tuning.cifar100", "large_batch", "--processes", "0", "--output", str(tmp_path)]
    ended = subprocess.run([sys.executable, *argv], text=True, capture_output=True, check=False)
    assert ended.returncode == 2
    assert ended.stderr == "tuning.cifar100: processes is 0; it must be 1 or larger\n"


def test_the_rate_is_chosen_in_validation():
    nan = float("nan")
    results = pd.DataFrame(
        [
            ("LocalSGD", 2, 4, 0.05, 0.30, 0.40),
            ("LocalSGD", 2, 4, 0.02, 0.35, 0.20),
            ("LocalSGD", 2, 4, 0.10, nan, nan),
            ("SlowMo", 2, 4, 0.05, nan, nan),
        ],
        columns=["method", "workers", "steps", "lr", "val_accuracy", "test_accuracy"],
    )
    best = chosen(results, ["method", "workers", "steps"])
    assert list(best["lr"]) == [0.02, 0.05]
    assert list(best["rates"]) == [3, 1]
    assert best["test_accuracy"][0] == 0.20


def results(accuracies: dict[int, float]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "optimizer": "SGDM",
            "scaling": "linear",
            "batch_size": list(accuracies),
            "test_accuracy": list(accuracies.values()),
            "epochs": 15,
        }
    )


@pytest.mark.parametrize(
    ("accuracies", "reached"),
    [
        ({128: 0.50, 512: 0.495, 2048: 0.40, 8192: 0.50}, 512),
        ({128: 0.50, 512: 0.52, 2048: 0.50}, 2048),
        ({128: 0.50, 512: float("nan"), 2048: 0.50}, 128),
        ({128: float("nan")}, None),
    ],
)
def test_the_largest_batch_without_loss(accuracies, reached):
    assert over_batches(results(accuracies))["no loss up to"].tolist() == [reached]


def test_a_grid_that_diverged_is_drawn(tmp_path):
    draw(results({128: float("nan")}), tmp_path / "a.png")
    assert imread(tmp_path / "a.png").std() > 0


def test_curves_of_a_run_that_is_not_finished(tmp_path):
    """Every other round was scored on the test set."""
    table = pd.DataFrame(
        {
            "epochs": [1.0, 2.0, 3.0],
            "train_loss": [4.0, 3.0, 2.0],
            "train_accuracy": [0.1, 0.2, 0.3],
            "test_loss": [4.0, None, 2.5],
            "test_accuracy": [0.1, None, 0.25],
        }
    )
    draw_curves(table, tmp_path / "a.png")
    height, width, _ = imread(tmp_path / "a.png").shape
    assert width > 2 * height
