"""Every study at its smallest scale: its tables and plots, and taking it up again."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.image import imread
from rich.console import Console

from raydl import Checkpointing, Model, Run, SpecError
from raydl.algorithms import DataParallel
from raydl.optim import SGD
from raydl.runtimes.local.spec import Sequential
from tests.waiting import until
from tuning.studies.command import run, show_studies
from tuning.studies.grid import Cell
from tuning.studies.registry import STUDIES
from tuning.studies.study import Setting, Study, carry_out, choose_best

# Plots, runs, and how many of the runs differ: those of other settings may have the same numbers,
# as where s = 16 never holds anybody back, or a run is shorter than J.
EXPECTED = {
    "mnist": (["label_skew.png", "local_epochs.png", "stabilized.png"], 21, 19),
    "message_passing": (["labels.png", "traffic.png"], 6, 4),
    "centralized": (["curves.png"], 3, 2),
    "large_batch": (["large_batch.png"], 12, 11),
    "local_steps": (["local_steps.png"], 8, 7),
    "two_level": (["two_level.png"], 6, 5),
    "dynamic_steps": (["dynamic_steps.png"], 7, 3),
    "asynchronous": (["asynchronous.png"], 10, 8),
    "fedavg": (["fedavg.png"], 2, 2),
    "participation": (["participation.png", "sampling.png"], 9, 6),
    "heterogeneity": (["algorithms.png", "heterogeneity.png"], 10, 9),
    "shakespeare": (["shakespeare.png", "sizes.png"], 7, 7),
}
ON_RAY = {"message_passing", "rates"}
WRITTEN = ["histories.csv", "results.csv", "runs", "tables.md"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory, request) -> Callable[[str], Path]:
    """The folder of a study that was done in one go."""

    @cache
    def folder(study: str) -> Path:
        if study in ON_RAY:
            request.getfixturevalue("cluster")
        path = tmp_path_factory.mktemp(study)
        run(study, "smoke", output=str(path))
        return path

    return folder


def test_every_study_is_tried_here_and_listed(capsys):
    assert set(EXPECTED) | {"rates"} == set(STUDIES)
    show_studies([])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(STUDIES)
    assert all(len(line.split()) > 5 for line in lines)


@pytest.mark.parametrize("study", EXPECTED)
def test_the_smoke_scale_writes_its_tables_and_plots(study, whole, tmp_path, capsys):
    plots, rows, different = EXPECTED[study]
    assert sorted(each.name for each in whole(study).iterdir()) == sorted([*plots, *WRITTEN])
    assert all(imread(whole(study) / plot).std() > 0 for plot in plots)
    results = pd.read_csv(whole(study) / "results.csv")
    assert len(results) == rows
    assert set(results["outcome"]) == {"finished"}
    assert results["fingerprint"].nunique() >= different
    tables = (whole(study) / "tables.md").read_text()
    assert "nan" not in tables

    if study in ON_RAY:
        return  # how far the parameters lie apart is told where their checkpoints are
    for table in whole(study).glob("*.csv"):
        shutil.copy(table, tmp_path)
    run(study, "smoke", output=str(tmp_path))  # every row is there: nothing is run
    assert not (tmp_path / "runs").exists()
    assert (tmp_path / "tables.md").read_text() == tables
    assert tables in capsys.readouterr().out
    assert all((tmp_path / plot).exists() for plot in plots)


def test_fedsgd_by_gradients_and_by_weights_is_the_same(whole):
    """0.02 percentage points are allowed; here the test set has 100 samples, 1 point each."""
    told = (whole("mnist") / "tables.md").read_text()
    section = told.split("## ")[1]
    rows = [[cell.strip() for cell in line.split("|")] for line in section.splitlines()[4:]]
    differences = [row[5] for row in rows if len(row) > 5]
    assert differences == ["0", "0"]


def test_all_reduce_and_the_parameter_server_end_with_the_parameters_of_one_process(whole):
    text = (whole("message_passing") / "tables.md").read_text()
    rows = [[cell.strip() for cell in line.split("|")] for line in text.splitlines()]
    apart = {row[1]: row[10] for row in rows if len(row) > 10 and row[10][:1].isdigit()}
    assert set(apart) == {"all-reduce", "parameter server"}
    assert all(float(each) < 1e-5 for each in apart.values())
    traffic = {row[1]: (row[4], row[8]) for row in rows if len(row) == 10}
    for scheme in ("parameter server", "FedAvg, iid"):
        planned, counted = map(float, traffic[scheme])
        assert planned == pytest.approx(counted, rel=0.01)


def test_a_sweep_is_a_study_too(whole, capsys):
    folder = whole("rates") / "rates-smoke"
    assert {"report.md", "trials.parquet", "sweep.yaml"} < {each.name for each in folder.iterdir()}
    assert len(pd.read_parquet(folder / "trials.parquet")) == 2
    report = (folder / "report.md").read_text()
    run("rates", "smoke", output=str(whole("rates")))  # taken up again: nothing is left to do
    assert (folder / "report.md").read_text() == report


def test_the_best_of_each_setting_is_done_again_with_other_seeds(tmp_path):
    base = Run(
        model=Model("Softmax"),
        runtime=Sequential(),
        seed=1,
        checkpoint=Checkpointing(keep=1),
        storage=str(tmp_path / "runs"),
    )
    cells = [
        Cell(
            replace(base, algorithm=DataParallel(SGD(lr)), epochs=epochs, name=f"{lr:g}-{epochs}"),
            {"lr": lr, "epochs": epochs},
        )
        for epochs in (1, 3)
        for lr in (1e-4, 0.05)
    ]
    seen = []

    def report(results) -> str:
        seen.append(results)
        return f"{len(results.runs)} runs\n"

    study = Study(cells, report, lambda results, folder: None, ["epochs"], (7, 8))
    setting = Setting("smoke", "data", str(tmp_path))
    carry_out(study, setting, 1, Console(quiet=True))
    runs = seen[-1].runs
    assert list(runs["seed"]) == [1] * 4 + [7] * 2 + [8] * 2
    assert list(runs["name"][4:]) == [f"0.05-{e}-seed{s}" for s in (7, 8) for e in (1, 3)]
    assert runs["fingerprint"].nunique() == 8
    best = choose_best(runs, ["epochs"])
    for row in best.to_dict("records"):
        same = runs[(runs["lr"] == 0.05) & (runs["epochs"] == row["epochs"])]
        assert row["test_accuracy"] == pytest.approx(same["test_accuracy"].mean())
        assert row["test_std"] == pytest.approx(same["test_accuracy"].std())
    assert set(seen[-1].rounds["name"]) == set(runs["name"])
    assert (tmp_path / "tables.md").read_text() == "8 runs\n"


def test_a_figure_tells_its_scale_unless_it_is_the_published_protocol():
    titles = [Setting(scale, "", "").title("CIFAR-100", "5 epochs") for scale in ("short", "full")]
    assert titles == ["CIFAR-100, 5 epochs (scale short)", "CIFAR-100, 5 epochs"]


@pytest.mark.usefixtures("heeded")
def test_a_signal_stops_the_processes_and_the_same_command_goes_on(whole, tmp_path):
    argv = [sys.executable, "-m", "tuning", "run", "local_steps", "--scale", "smoke"]
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

    run("local_steps", "smoke", output=str(tmp_path))
    stopped, undisturbed = (
        pd.read_csv(folder / "results.csv").sort_values("name")
        for folder in (tmp_path, whole("local_steps"))
    )
    assert list(stopped["fingerprint"]) == list(undisturbed["fingerprint"])


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["large_batch", "--processes", "0"], "processes is 0; it must be 1 or larger"),
        (["large_bath"], "unknown study 'large_bath'; did you mean 'large_batch'? Allowed: "),
    ],
)
def test_the_command_refuses_in_one_line(argv, told, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-m", "tuning", "run", *argv, "--output", str(tmp_path)],
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"raydl: {told}")
    assert len(ended.stderr.splitlines()) == 1


def test_a_study_of_the_real_data_names_the_folder_that_is_given(tmp_path):
    study = STUDIES["fedavg"](Setting("short", str(tmp_path), "runs"))
    assert {cell.run.data.root for cell in study.cells} == {str(tmp_path)}
    with pytest.raises(SpecError, match="unknown study"):
        run("fedavq")
