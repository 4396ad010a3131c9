"""Sweeps of small runs on real digits: spaces, searchers, schedulers, failures, going on."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import yaml
from rich.console import Console

import raydl
from raydl import Checkpointing, Model, Run, SpecError
from raydl.runtimes.specs import Actors, Sequential
from tests.command import until
from tuning.sweep import Outcome, Plan, sweep
from tuning.sweep.space import Space

BASE = Run(
    model=Model("MLP", {"hidden": [16]}),
    runtime=Sequential(),
    clients=10,
    rounds=4,
    checkpoint=Checkpointing(every=2),
)


def swept(folder: Path, space: dict, plan: Plan, run: Run = BASE, resume: bool = False) -> Outcome:
    run = replace(run, storage=str(folder))
    return sweep(run, space, plan, resume=resume, console=Console(quiet=True))


@pytest.mark.parametrize(
    ("space", "told"),
    [
        ({"algorithm.ls": {"choice": [1]}}, "unknown field 'algorithm.ls'; did you mean"),
        ({"algorithm.lr": {"logunifrom": [1e-3, 1]}}, "did you mean 'loguniform'"),
        ({"algorithm.lr": {"loguniform": [1.0, 1e-3]}}, "of which the second is the larger"),
        ({"algorithm.lr": {"uniform": [0.1, 0.1]}}, "of which the second is the larger"),
        ({"algorithm.lr": {"uniform": [0.1, float("inf")]}}, "of which the second is the larger"),
        ({"algorithm.lr": {"loguniform": [0.0, 1.0]}}, "must be above 0"),
        ({"algorithm.lr": {"uniform": [-1.0, 1.0]}}, "lr is -1.0"),
        ({"algorithm.lr": {"choice": [0.1, "fast"]}}, "algorithm.lr is 'fast'; it must be float"),
        ({"algorithm.lr": {"choice": []}}, "a list of values"),
        ({"algorithm.lr": 0.1}, "must be one distribution"),
        ({"algorithm.epochs": {"randint": [1, 2.5]}}, "two whole numbers"),
        ({"clients": {"randint": [0, 3]}}, "clients is 0; it must be 1 or larger"),
        ({"algorithm": {"grid": ["FedAvg", "FedAgv"]}}, "did you mean 'FedAvg'"),
        ({}, "space is {}"),
    ],
)
def test_a_bad_space_is_refused_before_anything_starts(space, told, tmp_path):
    with pytest.raises(SpecError) as refused:
        swept(tmp_path, space, Plan())
    assert told in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"searcher": "grid"}, "but algorithm.lr would be drawn"),
        ({"scheduler": "asha", "grace": 4}, "grace is 4; it must be below 4"),
        ({"run": replace(BASE, runtime=Actors())}, "runtime is Actors"),
        ({"run": replace(BASE, model=Model("CifarCNN"))}, "nothing of images of 8×8"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, told, tmp_path):
    run = changes.pop("run", BASE)
    with pytest.raises(SpecError, match=told):
        swept(tmp_path, {"algorithm.lr": {"uniform": [0.1, 0.2]}}, Plan(**changes), run)
    assert not list(tmp_path.iterdir())


def test_draws_cross_the_grids_and_follow_from_the_seed():
    space = Space(
        BASE,
        {
            "algorithm.lr": {"loguniform": ["1e-3", 1.0]},
            "algorithm.epochs": {"grid": [1, 5]},
            "clients": {"randint": [5, 8]},
            "algorithm": {"choice": ["FedAvg", "FedProx"]},
        },
    )
    points = space.random(30, seed=3)
    assert points == space.random(30, seed=3) != space.random(30, seed=4)
    table = pd.DataFrame(points)
    assert (table["algorithm.epochs"].value_counts() == 30).all()
    assert table["clients"].unique().size == 3
    assert table["clients"].between(5, 7).all()
    assert table["algorithm.lr"].between(1e-3, 1.0).all()
    assert 0.35 < (table["algorithm.lr"] < 10**-1.5).mean() < 0.65  # even in the logarithm
    run = space.at(points[0])
    assert type(run.algorithm).__name__ == points[0]["algorithm"]
    assert (run.algorithm.lr, run.clients) == (points[0]["algorithm.lr"], points[0]["clients"])
    assert run.model == BASE.model


RATES = {"algorithm.lr": {"grid": [0.1, 1e30, 0.03]}, "algorithm.epochs": {"grid": [1, 2]}}
GRID = Plan(searcher="grid", seeds=2)


@pytest.fixture(scope="module")
def grid(cluster, tmp_path_factory) -> tuple[Path, Outcome]:
    folder = tmp_path_factory.mktemp("grid")
    return folder, swept(folder, RATES, GRID)


def test_a_trial_is_the_run_alone(grid, tmp_path):
    folder, outcome = grid
    rows = [each for each in outcome.trials if each["outcome"] == "finished"]
    assert [(row["algorithm.lr"], row["algorithm.epochs"]) for row in rows] == [
        (0.1, 1),
        (0.1, 2),
        (0.03, 1),
        (0.03, 2),
    ]
    spec = raydl.options.changed(BASE, {"algorithm.lr": 0.03, "algorithm.epochs": 2})
    alone = raydl.run(replace(spec, storage=str(tmp_path)))
    trial = folder / f"sweep/trials/{rows[-1]['number']:04d}"
    summary = json.loads((trial / "summary.json").read_text())
    assert summary["fingerprint"] == alone.summary["fingerprint"]
    assert rows[-1]["val_accuracy"] == alone.summary["val_accuracy"]
    assert rows[-1]["local_steps"] == alone.summary["local_steps"]


def test_a_trial_that_diverges_is_recorded(grid):
    _, outcome = grid
    rows = [each for each in outcome.trials if each["algorithm.lr"] == 1e30]
    assert [row["outcome"] for row in rows] == ["diverged"] * 2
    assert all("holds a NaN or an infinity" in row["reason"] for row in rows)


def test_only_the_winner_sees_the_test_set(grid):
    folder, outcome = grid
    for row in outcome.trials:
        assert row["test_accuracy"] is None
    for trial in (folder / "sweep/trials").glob("*/metrics.parquet"):
        assert pd.read_parquet(trial)["test_accuracy"].isna().all()
    finished = [each for each in outcome.trials if each["outcome"] == "finished"]
    assert outcome.best["val_accuracy"] == max(each["val_accuracy"] for each in finished)
    assert [row["seed"] for row in outcome.winner] == [0, 1]
    assert all(row["test_accuracy"] > 0.5 for row in outcome.winner)
    assert outcome.winner[0]["val_accuracy"] == outcome.best["val_accuracy"]


def test_the_report_says_what_the_table_does(grid):
    folder, outcome = grid
    written = {each.name for each in (folder / "sweep").iterdir()}
    plots = {"algorithm.lr.png", "algorithm.epochs.png", "algorithm.lr-algorithm.epochs.png"}
    files = {"report.md", "best.yaml", "sweep.yaml", "trials.parquet", "trials", "winner"}
    assert written == files | plots
    text = (folder / "sweep/report.md").read_text()
    assert f"- algorithm.lr: {outcome.best['algorithm.lr']}" in text
    scores = 100 * pd.Series([row["test_accuracy"] for row in outcome.winner])
    assert f"{scores.mean():.2f} ± {scores.std():.2f} %" in text
    assert text.count("| diverged") == 2
    best = raydl.options.from_mapping(yaml.safe_load((folder / "sweep/best.yaml").read_text()))
    assert best.algorithm.lr == outcome.best["algorithm.lr"]
    assert best.evaluation.test == "end"
    table = pd.read_parquet(folder / "sweep/trials.parquet")
    assert list(table["algorithm.lr"]) == [0.1, 0.1, 1e30, 1e30, 0.03, 0.03]


def test_resuming_does_nothing_again(grid):
    folder, outcome = grid
    files = {path: path.stat().st_mtime_ns for path in folder.rglob("trials/*/*.*")}
    assert files
    again = swept(folder, RATES, GRID, resume=True)
    assert again.trials == outcome.trials
    assert again.winner == outcome.winner
    assert files == {path: path.stat().st_mtime_ns for path in folder.rglob("trials/*/*.*")}


def test_another_sweep_cannot_take_its_place(grid):
    folder, _ = grid
    with pytest.raises(SpecError, match=r"go on with it: python -m tuning\.sweep --resume"):
        swept(folder, RATES, GRID)
    with pytest.raises(SpecError, match=r"reduction: 4\.0 then, 3\.0 now"):
        swept(folder, RATES, replace(GRID, reduction=3.0), resume=True)
    with pytest.raises(SpecError, match="no sweep to resume"):
        swept(folder, RATES, replace(GRID, name="other"), resume=True)


def test_asha_stops_the_worse(cluster, tmp_path):
    """One after the other, so that the second is compared with the first at every rung."""
    plan = replace(GRID, scheduler="asha", reduction=2, concurrent=1, seeds=1)
    outcome = swept(tmp_path, {"algorithm.lr": {"grid": [0.1, 1e-4]}}, plan)
    good, bad = outcome.trials
    assert (good["outcome"], good["round"]) == ("finished", 4)
    assert (bad["outcome"], bad["round"]) == ("stopped", 1)
    assert bad["val_accuracy"] < good["val_accuracy"]
    assert outcome.best == good


def test_optuna_learns_and_is_resumed(cluster, tmp_path):
    pytest.importorskip("optuna")
    plan = Plan(searcher="optuna", trials=3, seeds=1, concurrent=1)
    space = {"algorithm.lr": {"loguniform": [1e-3, 1.0]}, "clients": {"choice": [5, 10]}}
    outcome = swept(tmp_path, space, plan)
    assert [row["number"] for row in outcome.trials] == [0, 1, 2]
    assert len({row["algorithm.lr"] for row in outcome.trials}) == 3
    assert swept(tmp_path, space, plan, resume=True).trials == outcome.trials


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_sweep_goes_on(number, tmp_path):
    """The trial that is done by then stays, and the one in hand ends as if undisturbed.

    The runs are long enough for the signal to find one in hand.
    """
    config = {
        "run": {
            "model": {"name": "MLP", "hidden": [16]},
            "clients": 10,
            "rounds": 60,
            "checkpoint": {"every": 2},
            "evaluation": {"every": 5},
            "storage": str(tmp_path),
        },
        "space": {"algorithm.lr": {"grid": [0.1, 0.03]}},
        "searcher": "grid",
        "seeds": 1,
        "concurrent": 1,
    }
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "tuning.sweep"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    folder, said = tmp_path / "sweep", tmp_path / "stderr"  # a file: Ray's processes hold a pipe
    with said.open("w") as stream:
        process = subprocess.Popen(
            [*command, "--config", str(tmp_path / "space.yaml")],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            start_new_session=True,
        )
    try:
        until((folder / "trials/0001/checkpoints").exists)
        process.send_signal(number)
        code = process.wait(timeout=120)
    finally:
        process.kill()
    if number == signal.SIGINT:
        on = f"go on with: python -m tuning.sweep --resume {folder}"
        assert said.read_text() == f"stopped; the sweep is in {folder}\n{on}\n"
        assert code == 130
    before = pd.read_parquet(folder / "trials.parquet")
    assert list(before["outcome"]) == ["finished", "begun"]
    rows = pd.read_parquet(folder / "trials/0001/metrics.parquet")
    assert len(rows) < 60

    ended = subprocess.run(
        [*command, "--resume", str(folder)],
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    after = pd.read_parquet(folder / "trials.parquet")
    assert list(after["outcome"]) == ["finished"] * 2
    assert after["wall_seconds"][0] == before["wall_seconds"][0]  # not done again
    resumed = pd.read_parquet(folder / "trials/0001/metrics.parquet")
    assert list(resumed["wall_seconds"][: len(rows)]) == list(rows["wall_seconds"])
    spec = raydl.options.from_mapping({**config["run"], "runtime": "sequential"})
    spec = raydl.options.changed(spec, {"algorithm.lr": 0.03, "storage": str(tmp_path / "alone")})
    alone = raydl.run(spec)
    summary = json.loads((folder / "trials/0001/summary.json").read_text())
    assert summary["fingerprint"] == alone.summary["fingerprint"]
