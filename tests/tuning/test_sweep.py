"""Sweeps of small runs on real digits: spaces, searchers, schedulers, failures, going on."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from io import StringIO
from itertools import islice
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import yaml
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import raydl
from raydl import Checkpointing, Evaluation, Model, Run, SpecError
from raydl.algorithms import FedAvg, LocalSGD
from raydl.algorithms import ParameterServer as Served
from raydl.assembly.assemble import assemble
from raydl.core import tree
from raydl.data import Digits, Prepared, prepare
from raydl.optim import SGD
from raydl.round import rounds
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.parameter_server.spec import ShardedServer
from raydl.runtimes.runtime import RuntimeState
from raydl.signals import Interrupted
from raydl.storage import Folder
from tests.odd import Logged, Plane
from tests.waiting import until
from tuning.metric import ACCURACY
from tuning.sweep import Outcome, SweepConfig, sweep
from tuning.sweep.command import main
from tuning.sweep.lineage import Stage, newest
from tuning.sweep.progress import LiveTable
from tuning.sweep.resources import check_room, reserve, side_by_side
from tuning.sweep.results.table import stages_of
from tuning.sweep.space import Space
from tuning.sweep.trial import home_of

BASE = Run(
    model=Model("MLP", {"hidden": [16]}),
    runtime=Sequential(),
    clients=10,
    rounds=4,
    checkpoint=Checkpointing(every=2),
)


def swept(
    folder: Path, space: dict, plan: SweepConfig, run: Run = BASE, resume: bool = False
) -> Outcome:
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
        ({"task": {"grid": ["Classification", "Regression"]}}, "compared by different metrics"),
        ({}, "space is {}"),
    ],
)
def test_a_bad_space_is_refused_before_anything_starts(space, told, tmp_path):
    with pytest.raises(SpecError) as refused:
        swept(tmp_path, space, SweepConfig())
    assert told in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"searcher": "grid"}, "but algorithm.lr would be drawn"),
        ({"scheduler": "asha", "grace": 4}, "grace is 4; it must be below 4"),
        ({"run": replace(BASE, data=Digits(validation=0.0))}, "validation samples is 0"),
        ({"run": replace(BASE, runtime=Actors())}, "runtime is Actors"),
        ({"run": replace(BASE, model=Model("CifarCNN"))}, "nothing of images of 8×8"),
    ],
)
def test_a_plan_that_cannot_be_is_refused(changes, told, tmp_path):
    run = changes.pop("run", BASE)
    with pytest.raises(SpecError, match=told):
        swept(tmp_path, {"algorithm.lr": {"uniform": [0.1, 0.2]}}, SweepConfig(**changes), run)
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


def test_a_changed_setting_stays_in_its_range():
    space = Space(
        BASE,
        {
            "algorithm.lr": {"loguniform": [1e-3, 0.1]},
            "algorithm.epochs": {"randint": [1, 5]},
            "algorithm.batch_size": {"choice": [8, 16]},
        },
    )
    given = {"algorithm.lr": 0.12, "algorithm.epochs": 0, "algorithm.batch_size": 16}
    within = {"algorithm.lr": 0.1, "algorithm.epochs": 1, "algorithm.batch_size": 16}
    assert space.clip(given) == within
    assert space.clip(within) == within
    assert space.mutations()["algorithm.batch_size"] == [8, 16]


def test_a_person_sees_the_best_trials_first():
    screen = StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    row = {"reason": None, "round": 4}
    rows = [
        {"number": 0, "algorithm.lr": 0.1, "outcome": "finished", "val_accuracy": 0.5, **row},
        {"number": 1, "algorithm.lr": 0.2, "outcome": "finished", "val_accuracy": 0.75, **row},
        {"number": 2, "algorithm.lr": 0.3, "outcome": "begun", "val_accuracy": None, **row},
    ]
    with LiveTable(console, ["algorithm.lr"], total=4, metric=ACCURACY) as table:
        table.on_end(rows[1], rows)
    shown = screen.getvalue()
    assert "2 of 4 trials done, best validation accuracy 75.00 %" in shown
    assert "s left" in shown
    assert shown.rindex("0001") < shown.rindex("0000") < shown.rindex("0002")


RATES = {"algorithm.lr": {"grid": [0.1, 1e30, 0.03]}, "algorithm.epochs": {"grid": [1, 2]}}
GRID = SweepConfig(searcher="grid", seeds=2, concurrent=2)
ONE_BY_ONE = replace(GRID, seeds=0, concurrent=1)


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
    spec = raydl.config.options.change(BASE, {"algorithm.lr": 0.03, "algorithm.epochs": 2})
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
    plots |= {"parallel.png", "costs.png"}
    files = {"report.md", "best.yaml", "sweep.yaml", "trials.parquet", "trials", "winner"}
    assert written == files | plots
    text = (folder / "sweep/report.md").read_text()
    assert f"- algorithm.lr: {outcome.best['algorithm.lr']}" in text
    scores = 100 * pd.Series([row["test_accuracy"] for row in outcome.winner])
    assert f"{scores.mean():.2f} ± {scores.std():.2f} %" in text
    assert text.count("| diverged") == 2
    best = raydl.config.options.from_mapping(
        yaml.safe_load((folder / "sweep/best.yaml").read_text())
    )
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
    with pytest.raises(SpecError, match=r"go on with it: raydl sweep --resume"):
        swept(folder, RATES, GRID)
    with pytest.raises(SpecError, match=r"reduction: 4\.0 then, 3\.0 now"):
        swept(folder, RATES, replace(GRID, reduction=3.0), resume=True)
    with pytest.raises(SpecError, match="no sweep to resume"):
        swept(folder, RATES, replace(GRID, name="other"), resume=True)


def test_asha_stops_the_worse(cluster, tmp_path, capfd):
    """One after the other, so that the second is compared with the first at every rung."""
    plan = replace(ONE_BY_ONE, scheduler="asha", reduction=2)
    outcome = swept(tmp_path, {"algorithm.lr": {"grid": [0.1, 1e-4]}}, plan)
    good, bad = outcome.trials
    assert (good["outcome"], good["round"]) == ("finished", 4)
    assert (bad["outcome"], bad["round"]) == ("stopped", 1)
    assert bad["val_accuracy"] < good["val_accuracy"]
    assert outcome.best == good
    events = EventAccumulator(str(tmp_path / "sweep/trials/0001")).Reload()
    assert "_hparams_/session_start_info" in events.PluginTagToContent(
        "hparams"
    )  # it did not finish
    assert capfd.readouterr().out == ""  # Tune prints nothing between the lines of the console


def test_the_best_of_a_regression_is_the_lowest(cluster, tmp_path):
    plan = replace(ONE_BY_ONE, scheduler="asha", reduction=2, seeds=2)
    space = {"algorithm.lr": {"grid": [0.1, 1e-5]}, "algorithm.epochs": {"grid": [1, 2]}}
    outcome = swept(tmp_path, space, plan, replace(BASE, data=Plane()))
    stopped = [row for row in outcome.trials if row["outcome"] == "stopped"]
    assert {row["algorithm.lr"] for row in stopped} == {1e-5}
    assert outcome.best["val_rmse"] == min(row["val_rmse"] for row in outcome.trials)
    report = (tmp_path / "sweep/report.md").read_text()
    assert f"Validation rmse {outcome.best['val_rmse']:.4g} (trial" in report
    tested = pd.Series([row["test_rmse"] for row in outcome.winner])
    assert f"test rmse {tested.mean():.4g} ± {tested.std():.2g} (mean" in report
    column = [line.split("|")[5] for line in report.splitlines() if line.startswith("| ")]
    assert column[0].strip() == "val_rmse"
    assert column[1:] == sorted(column[1:], key=float)
    assert {"parallel.png", "costs.png"} < {each.name for each in (tmp_path / "sweep").iterdir()}


def test_optuna_learns_and_is_resumed(cluster, tmp_path):
    plan = SweepConfig(searcher="optuna", trials=3, seeds=0, concurrent=1)
    space = {"algorithm.lr": {"loguniform": [1e-3, 1.0]}, "clients": {"choice": [5, 10]}}
    outcome = swept(tmp_path, space, plan)
    assert [row["number"] for row in outcome.trials] == [0, 1, 2]
    assert len({row["algorithm.lr"] for row in outcome.trials}) == 3
    assert swept(tmp_path, space, plan, resume=True).trials == outcome.trials


def in_hand(folder: Path) -> bool:
    """Whether the second trial is going on, and would lose something."""
    return (folder / "sweep/trials/0001/checkpoints").exists()


LONG = replace(BASE, rounds=60, evaluation=Evaluation(every=5))
TWO = {"algorithm.lr": {"grid": [0.1, 0.03]}}


def check_resumed(folder: Path, begun: pd.DataFrame) -> None:
    """The trial that was done stayed, and the one in hand ended as if undisturbed."""
    assert list(begun["outcome"]) == ["finished", "begun"]
    ended = pd.read_parquet(folder / "sweep/trials.parquet")
    assert list(ended["outcome"]) == ["finished"] * 2
    assert ended["wall_seconds"][0] == begun["wall_seconds"][0]  # not done again
    spec = raydl.config.options.change(
        LONG, {"algorithm.lr": 0.03, "storage": str(folder / "alone")}
    )
    alone = raydl.run(spec)
    summary = json.loads((folder / "sweep/trials/0001/summary.json").read_text())
    assert summary["fingerprint"] == alone.summary["fingerprint"]


def test_a_sweep_that_was_asked_to_stop_goes_on(cluster, tmp_path):
    def ask() -> None:
        until(lambda: in_hand(tmp_path))
        os.kill(os.getpid(), signal.SIGINT)

    asker = Thread(target=ask)
    asker.start()
    with pytest.raises(Interrupted) as stopped:
        swept(tmp_path, TWO, ONE_BY_ONE, LONG)
    asker.join()
    assert (stopped.value.code, stopped.value.path) == (130, f"{tmp_path}/sweep")
    begun = pd.read_parquet(tmp_path / "sweep/trials.parquet")
    rows = pd.read_parquet(tmp_path / "sweep/trials/0001/metrics.parquet")
    assert len(rows) < 60
    swept(tmp_path, TWO, ONE_BY_ONE, LONG, resume=True)
    check_resumed(tmp_path, begun)
    resumed = pd.read_parquet(tmp_path / "sweep/trials/0001/metrics.parquet")
    assert list(resumed["wall_seconds"][: len(rows)]) == list(rows["wall_seconds"])


@pytest.mark.usefixtures("cluster_address")
def test_a_sweep_whose_driver_was_killed_goes_on(tmp_path, capsys):
    run = raydl.config.options.to_mapping(replace(LONG, storage=str(tmp_path)))
    config = {"run": run, "space": TWO, "searcher": "grid", "seeds": 0, "concurrent": 1}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(config))
    process = subprocess.Popen(
        [sys.executable, "-m", "tuning.sweep", "--config", str(tmp_path / "space.yaml")],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        until(lambda: in_hand(tmp_path) or process.poll() is not None)
    finally:
        process.kill()
        process.wait()
    begun = pd.read_parquet(tmp_path / "sweep/trials.parquet")
    assert main(["--resume", "sweep", "--storage", str(tmp_path)]) == 0
    assert "2/2  0001: algorithm.lr 0.03: validation" in capsys.readouterr().out
    check_resumed(tmp_path, begun)


def test_what_fails_is_recorded_and_the_others_go_on(cluster, tmp_path):
    """A run that cannot be, and one whose process dies."""
    space = {
        "model": {"grid": ["MLP", "tests.odd:Deadly"]},
        "clients": {"grid": [10, 5000]},
    }
    run = replace(BASE, model=None, rounds=2)
    outcome = swept(tmp_path, space, replace(GRID, seeds=0), run)
    fine, impossible, died, _ = outcome.trials
    assert fine["outcome"] == "finished"
    assert impossible["outcome"] == "failed"
    assert impossible["reason"].startswith("SpecError: clients is 5000")
    assert died["outcome"] == "failed"
    assert "ActorDiedError" in died["reason"]
    assert outcome.best == fine


def test_trials_of_several_processes(cluster, tmp_path):
    """Each beside its own driver, and there is room for two; the data is loaded once for both."""
    log = tmp_path / "loaded"
    run = replace(
        BASE,
        algorithm=LocalSGD(workers=2, steps=4),
        data=Logged(str(log)),
        clients=None,
        rounds=2,
        storage=str(tmp_path),
    )
    space = {"runtime": {"grid": ["actors", "allreduce"]}, "runtime.workers": {"grid": [2]}}
    outcome = swept(tmp_path, space, replace(GRID, seeds=0), run)
    assert [row["outcome"] for row in outcome.trials] == ["finished"] * 2, outcome.trials
    assert log.read_text() == "loaded\n"
    by_actors, by_allreduce = (
        json.loads((tmp_path / f"sweep/trials/{number:04d}/summary.json").read_text())
        for number in range(2)
    )
    alone = raydl.run(replace(run, runtime=Sequential()))
    assert by_actors["fingerprint"] == alone.summary["fingerprint"]
    assert by_allreduce["val_loss"] == pytest.approx(by_actors["val_loss"], rel=1e-4)


def test_trials_map_prepared_data(cluster, tmp_path):
    prepare(Digits(), str(tmp_path / "digits"), 20_000)
    plan, run = replace(ONE_BY_ONE, seeds=1), replace(BASE, data=Prepared(str(tmp_path / "digits")))
    outcome = swept(tmp_path, {"algorithm.lr": {"grid": [0.1]}}, plan, run)
    alone = raydl.run(replace(BASE, algorithm=FedAvg(lr=0.1), storage=str(tmp_path), name="alone"))
    for row in (*outcome.trials, *outcome.winner):
        assert row["outcome"] == "finished", row["reason"]
        assert row["val_accuracy"] == alone.summary["val_accuracy"]


def test_a_trial_reserves_what_its_processes_take():
    plan = SweepConfig(gpus=0.25)
    assert reserve(BASE, plan.gpus).required_resources == {"CPU": 1, "GPU": 0.25}
    actors = replace(BASE, runtime=Actors(workers=3, cpus=0.5, gpus=0.25))
    assert reserve(actors, plan.gpus).required_resources == {"CPU": 1.5, "GPU": 0.75}
    served = replace(BASE, algorithm=Served(2), clients=None, runtime=ShardedServer(cpus=0.5))
    assert reserve(served, plan.gpus).required_resources == {"CPU": 1}
    trained = replace(BASE, algorithm=LocalSGD(2), clients=None, runtime=AllReduce(2))
    room = {"CPU": 5.0}
    assert side_by_side([trained], plan, room) == 2
    assert side_by_side([trained], replace(plan, concurrent=1), room) == 1
    assert side_by_side([BASE], plan, room) is None
    check_room(trained, 0, room)
    with pytest.raises(SpecError, match=r"trial's CPU is 2\.0; it must be at most .* has, 1"):
        check_room(trained, 0, {"CPU": 1.0})


POPULATION = replace(
    BASE,
    algorithm=LocalSGD(workers=2, steps=4, optimizer=SGD(0.1, momentum=0.9), batch_size=16),
    runtime=Sequential(threads=3),  # of the cluster's 4 CPUs: one trial at a time
    clients=None,
    rounds=8,
)
RATE = {"algorithm.optimizer.lr": {"loguniform": [1e-6, 0.3]}}


def by_hand(course: list[Stage]) -> str:
    """The fingerprint of what a schedule of settings leads to, by the loop alone."""
    last = POPULATION.rounds
    ends, state, kept, params = (
        [*(each.round for each in course[1:]), last],
        None,
        RuntimeState(),
        {},
    )
    for stage, end in zip(course, ends, strict=True):
        run = raydl.config.options.change(POPULATION, stage.settings)
        problem, params = assemble(run)
        state = problem.algorithm.init(params) if state is None else state
        runtime = LocalRuntime(problem, threads=3)
        runtime.restore(kept)
        loop = rounds(problem.algorithm, runtime, state, run.cohorts(), stage.round)
        for done in islice(loop, end - stage.round):
            state = done.state
        kept = runtime.state()
        params = problem.algorithm.params(state)
    return tree.fingerprint(params)


def test_a_population_goes_on_exactly_from_its_best(cluster, tmp_path):
    plan = SweepConfig(
        scheduler="pbt", trials=3, interval=2, seeds=1, seed=6
    )  # rates .078, 6.6e-5, .031
    outcome = swept(tmp_path, RATE, plan, POPULATION)
    assert [row["outcome"] for row in outcome.trials] == ["finished"] * 3
    courses = {row["number"]: stages_of(row) for row in outcome.trials}
    assert len(courses[1]) > 1  # it was the worst
    assert courses[1][0] == courses[0][0]
    for number, course in courses.items():
        place = newest(home_of(Folder(f"{tmp_path}/sweep"), number))
        assert json.loads(place.read("summary.json"))["fingerprint"] == by_hand(course)
    # The winner goes through the same schedule again.
    place = newest(home_of(Folder(f"{tmp_path}/sweep/winner"), 0))
    fingerprint = json.loads(place.read("summary.json"))["fingerprint"]
    assert fingerprint == by_hand(courses[outcome.best["number"]])
    assert outcome.winner[0]["test_accuracy"] > 0.5


@pytest.mark.parametrize(
    ("space", "changes", "told"),
    [
        ({"seed": {"choice": [1, 2]}}, {}, "it can only change fields of the algorithm"),
        ({"algorithm.optimizer": {"choice": ["SGD", "AdamW"]}}, {}, "state of the same layout"),
        ({"algorithm.workers": {"choice": [2, 3]}}, {}, "state of the same layout"),
        (RATE, {"interval": 8}, "interval is 8; it must be below 8"),
        (RATE, {"concurrent": 2}, "the trials of pbt take turns"),
        (RATE, {"searcher": "optuna"}, "pbt, which changes the settings itself|not installed"),
    ],
)
def test_a_population_that_cannot_be_is_refused(space, changes, told, tmp_path):
    with pytest.raises(SpecError, match=told):
        swept(tmp_path, space, SweepConfig(scheduler="pbt", **changes), POPULATION)
    assert not list(tmp_path.iterdir())
