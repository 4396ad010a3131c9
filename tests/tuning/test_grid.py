"""Grids of small runs on real digits: rows, reading back, going on, divergence, processes."""

import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from rich.console import Console

import raydl
from raydl import Callback, Checkpointing, Model, Run, SpecError
from raydl.algorithms import DataParallel
from raydl.optim import SGD
from raydl.runtimes.local.spec import Sequential
from raydl.signals import Interrupted
from raydl.tasks import Regression
from tests.odd import Plane
from tuning.metric import Metric
from tuning.studies.grid import Cell, Grid
from tuning.studies.study import choose_best

RATES = (0.05, 1e30, 0.01)  # the second diverges


def cells(folder: Path, rates: tuple[float, ...] = RATES) -> list[Cell]:
    base = Run(
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        epochs=4,
        checkpoint=Checkpointing(keep=1),
        storage=str(folder / "runs"),
    )
    return [
        Cell(
            replace(base, algorithm=DataParallel(SGD(lr)), name=f"lr{number}"),
            {"lr": lr, "epochs": 4},
        )
        for number, lr in enumerate(rates)
    ]


def grid(folder: Path, rates: tuple[float, ...] = RATES, processes: int = 1) -> Grid:
    return Grid(cells(folder, rates), folder, processes, Console(quiet=True))


def last(grid: Grid) -> pd.DataFrame:
    return list(grid.results())[-1]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """The folder of a grid that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    tables = list(grid(folder).results())
    assert [len(each) for each in tables] == [1, 2, 3]
    return folder


def timeless(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns="wall_seconds")


def test_a_row_holds_what_the_run_came_to(whole):
    table = pd.read_csv(whole / "results.csv", index_col="name")
    history = raydl.run(cells(whole)[0].run, resume=True)  # finished: read back
    row = table.loc["lr0"]
    assert (row["lr"], row["epochs"], row["outcome"]) == (0.05, 4, "finished")
    for name in ("val_accuracy", "test_accuracy", "train_loss", "bytes_up", "fingerprint"):
        assert row[name] == history.summary[name]
    assert row["val_accuracy"] > 0.8
    assert row["samples"] == history.table["samples"].iloc[-1]


def test_runs_of_a_regression_are_compared_by_its_error(tmp_path):
    rmse, rates = Metric.of(Regression()), (1e-4, 0.05)
    given = [Cell(replace(run, data=Plane()), settings) for run, settings in cells(tmp_path, rates)]
    table = last(Grid(given, tmp_path, 2, Console(quiet=True), rmse))
    assert "val_accuracy" not in table
    assert table["val_rmse"][1] < table["val_rmse"][0]
    best = choose_best(table, ["epochs"], rmse)
    assert list(best["name"]) == ["lr1"]
    assert best["test_rmse"][0] == table["test_rmse"][1]


def test_a_run_that_diverges_is_a_row_without_figures(whole):
    table = pd.read_csv(whole / "results.csv", index_col="name")
    assert list(table["outcome"]) == ["finished", "diverged", "finished"]
    assert table.loc["lr1", "val_accuracy":].isna().all()
    text = (whole / "results.csv").read_text()
    assert "lr1,1e+30,4,diverged,,,,,,,,,,,,\n" in text


def test_with_its_rows_alone_a_grid_goes_on_elsewhere(whole, tmp_path):
    shutil.copy(whole / "results.csv", tmp_path)
    assert_frame_equal(last(grid(tmp_path)), last(grid(whole)))
    assert not (tmp_path / "runs").exists()

    rates = (*RATES, 0.02)
    assert list(last(grid(tmp_path, rates))["lr"]) == list(rates)
    assert [each.name for each in (tmp_path / "runs").iterdir()] == ["lr3"]
    then, now = ((each / "results.csv").read_text() for each in (whole, tmp_path))
    assert now.startswith(then)  # no digit of the rows that were there has changed
    assert len(now.splitlines()) == len(then.splitlines()) + 1


def test_rows_of_another_grid_stay(whole, tmp_path):
    shutil.copy(whole / "results.csv", tmp_path)
    only = last(grid(tmp_path, RATES[:1]))
    assert list(only["name"]) == ["lr0"]
    assert (tmp_path / "results.csv").read_text() == (whole / "results.csv").read_text()


class Stopper(Callback):
    """Sends this process a signal after the first round."""

    def on_round(self, row):
        if row["round"] == 1:
            signal.raise_signal(signal.SIGTERM)


def test_an_interrupted_run_is_resumed(whole, tmp_path):
    run = cells(tmp_path)[0].run
    with pytest.raises(Interrupted):
        raydl.run(run, callback=Stopper())
    begun = pd.read_parquet(tmp_path / "runs/lr0/metrics.parquet")
    table = last(grid(tmp_path))
    ended = pd.read_parquet(tmp_path / "runs/lr0/metrics.parquet")
    assert len(begun) < len(ended)
    assert_frame_equal(
        ended[["round", "wall_seconds"]][: len(begun)], begun[["round", "wall_seconds"]]
    )  # not done again
    assert_frame_equal(timeless(table), timeless(last(grid(whole))))


def test_processes_do_the_same(whole, tmp_path):
    assert_frame_equal(timeless(last(grid(tmp_path, processes=2))), timeless(last(grid(whole))))


def test_a_mistake_in_a_process_is_told_as_it_is_here(tmp_path):
    wrong = [
        cell._replace(run=replace(cell.run, model=Model("MLP", {"width": 3})))
        for cell in cells(tmp_path)
    ]
    with pytest.raises(SpecError, match="model MLP cannot be made"):
        list(Grid(wrong, tmp_path, 2, Console(quiet=True)).results())


def test_rows_of_other_settings_are_refused(whole, tmp_path):
    shutil.copy(whole / "results.csv", tmp_path)
    with pytest.raises(SpecError, match=r"a row 'lr0' with other settings: lr was 0\.05, is 0\.1"):
        list(grid(tmp_path, (0.1,)).results())
    assert not (tmp_path / "runs").exists()


def test_no_processes_are_refused(tmp_path):
    with pytest.raises(SpecError, match="processes is 0; it must be 1 or larger"):
        grid(tmp_path, processes=0)
