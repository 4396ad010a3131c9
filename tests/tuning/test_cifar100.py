"""What the CIFAR-100 studies make of their results."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread

from tuning.studies.cifar100.centralized import draw_curves
from tuning.studies.cifar100.large_batch import draw, over_batches
from tuning.studies.command import Data, run
from tuning.studies.registry import STUDIES
from tuning.studies.study import Setting, choose_best

RESULTS = Path(__file__).parents[2] / "examples/results/cifar100"


@pytest.mark.parametrize("name", ["centralized", "large_batch", "local_steps"])
def test_the_rows_that_are_kept_here_are_runs_of_the_study(name, tmp_path):
    """Whoever goes on from them does none of them again, and is not told that they are others'."""
    study = STUDIES[name](Setting("short", "no such folder", str(tmp_path)))
    rows = pd.read_csv(RESULTS / name / "results.csv").to_dict("records")
    cells = {cell.run.name: cell.settings for cell in study.cells}
    kept = [row for row in rows if row["name"] in cells]
    assert kept
    for row in kept:
        assert {key: row[key] for key in cells[row["name"]]} == cells[row["name"]]


def test_the_rate_is_chosen_in_validation():
    nan = float("nan")
    results = pd.DataFrame(
        [
            ("LocalSGD", 2, 4, 0.05, 1, 0.30, 0.40),
            ("LocalSGD", 2, 4, 0.02, 1, 0.35, 0.20),
            ("LocalSGD", 2, 4, 0.10, 1, nan, nan),
            ("SlowMo", 2, 4, 0.05, 1, nan, nan),
            ("LocalSGD", 2, 4, 0.02, 2, 0.99, 0.26),
        ],
        columns=["method", "workers", "steps", "lr", "seed", "val_accuracy", "test_accuracy"],
    )
    best = choose_best(results, ["method", "workers", "steps"])
    assert list(best["lr"]) == [0.02, 0.05]
    assert list(best["rates"]) == [3, 1]
    assert list(best["seeds"]) == [2, 1]
    assert best["test_accuracy"][0] == pytest.approx(0.23)
    assert best["test_std"][0] == pytest.approx(0.03 * 2**0.5)
    assert best["test_std"].isna()[1]


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
    draw(results({128: float("nan")}), "short", tmp_path / "a.png")
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


def test_a_study_whose_rows_are_all_here_is_drawn_without_a_run(data_root, tmp_path):
    for file in ("results.csv", "histories.csv"):
        shutil.copy(RESULTS / "asynchronous" / file, tmp_path)
    run("asynchronous", "short", Data(data_root), str(tmp_path))
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "results.csv").read_text() == (
        RESULTS / "asynchronous" / "results.csv"
    ).read_text()
    told = (tmp_path / "tables.md").read_text()
    assert "| SSP, s = 4    | 0.01  |" in told
    assert imread(tmp_path / "asynchronous.png").std() > 0
