"""What is seen of a run: in a terminal, in a log, in a notebook."""

import io
import re
import time
from dataclasses import replace

import pytest
from rich.console import Console

import raydl
from raydl import Run
from raydl.assembly.assemble import assemble
from raydl.callbacks import Live, Notebook, RunStage
from raydl.callbacks.course import Course
from raydl.core.environment.stages import enter, heard_by
from raydl.run_folder.results.outcome import outcome
from raydl.run_folder.results.wording import Measure, duration, size, title
from raydl.runtimes import Actors
from raydl.storage import Folder

SMALL = {"clients": 20, "runtime": "sequential", "log": "none", "name": "a"}


@pytest.fixture
def spec(tmp_path) -> Run:
    return Run(rounds=3, storage=str(tmp_path), **SMALL)


def shown(text: str) -> str:
    """What a terminal is told, without how."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def test_a_terminal(spec):
    out = io.StringIO()
    with Live(Console(file=out, force_terminal=True, width=200)) as live:
        raydl.run(spec, callback=live)
    text = shown(out.getvalue())
    assert "FedAvg on Digits (Classification, 1,258 samples)" in text
    assert live.path == f"{spec.storage}/a"


def test_a_log_has_a_line_for_each_stage_and_round(spec):
    out = io.StringIO()
    with Live(Console(file=out)) as live:
        raydl.run(spec, callback=live)
    lines = out.getvalue().splitlines()
    assert lines[0] == "loading the data ..."
    assert [line.split()[1] for line in lines if line.startswith("round ") and "loss" in line] == [
        *("1/3", "2/3", "3/3"),
    ]


@pytest.mark.parametrize(
    ("runtime", "option"),
    [("sequential", "--runtime.device cuda"), (Actors(1), "--runtime.gpus auto")],
)
def test_a_gpu_that_is_not_used_is_mentioned(runtime, option, spec, monkeypatch, tmp_path):
    spec = replace(spec, model="Softmax", runtime=runtime)
    course, problem = Course(), assemble(spec).problem
    course.start(spec, problem, Folder(str(tmp_path)))
    assert "GPU" not in course.heading
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    course.start(spec, problem, Folder(str(tmp_path)))
    assert f"; torch finds a GPU here, which is not used: {option}\n" in course.heading
    if isinstance(runtime, Actors):
        spec = replace(spec, runtime=replace(runtime, gpus=1))
        course.start(spec, problem, Folder(str(tmp_path)))
        assert "on cuda, float32\n" in course.heading


def test_a_log_is_never_silent_for_long():
    out = io.StringIO()
    with Live(Console(file=out), silence=0.02) as live:
        live.on_stage(RunStage("starting Ray"))
        while out.getvalue().count("\n") < 3:
            time.sleep(0.01)
    first, second, *_ = out.getvalue().splitlines()
    assert first == "starting Ray ..."
    assert re.fullmatch(r"starting Ray \.\.\. for \d\.\d s", second)


def test_a_notebook(spec):
    cell = Notebook()
    displays = []
    cell._show = lambda at_once=False: displays.append(cell.html())
    history = raydl.run(spec, callback=cell)
    assert "<i>loading the data ...</i>" in displays[0]
    assert "<b>round 1/3</b>" in "".join(displays)
    assert displays[-1].endswith("done</div>")
    assert history.path in displays[-1]


def test_stages_are_heard_in_the_block_alone():
    heard = []
    with heard_by(heard.append):
        enter("starting workers", 1, 4)
    enter("of no interest")
    assert heard == [("starting workers", 1, 4)]


SUMMARY = {
    "metric": "rmse",
    "higher_is_better": False,
    "shares": [],
    "test_rmse": 1.5,
    "val_rmse": 1.25,
    "best_val_rmse": 1.0,
    "best_test_rmse": 1.75,
    "best_round": 7,
    "rounds": 10,
    "train_loss": 0.5,
    "wall_seconds": 20.0,
    "samples": 1000,
    "bytes_up": 2_000_000,
    "bytes_down": 1_000,
    "messages": 20,
    "dropped": 0,
    "late": 3,
}


def test_the_outcome_of_any_task_the_metric_first():
    assert outcome(SUMMARY) == {
        "test rmse": "1.5 after round 10; 1.75 after round 7, the best in validation",
        "validation rmse": "1.25 after round 10; 1 after round 7, the best in validation",
        "training loss": "0.5",
        "time": "20 s of training, 2 s a round, 50 samples/s",
        "sent": "1.0 kB down, 2.0 MB up, 20 messages",
        "left out": "3 updates that came too late",
    }


@pytest.mark.parametrize(
    ("higher", "value", "than", "expected"),
    [
        (True, 0.5, None, True),
        (True, 0.5, 0.4, True),
        (True, 0.4, 0.4, False),
        (False, 0.3, 0.4, True),
        (False, float("nan"), 0.4, False),
        (True, float("nan"), None, False),
    ],
)
def test_what_is_better(higher, value, than, expected):
    assert Measure("m", higher, frozenset()).better(value, than) is expected


def test_numbers_in_words():
    measure = Measure()
    assert measure.text("best_val_accuracy", 0.9111) == "91.11 %"
    assert measure.text("accuracy_of_3", 0.5) == "50.00 %"
    assert measure.text("train_loss", None) == "–"
    assert measure.spread("test_accuracy", 0.9, 0.01) == "90.00 ± 1.00 %"
    assert (size(12), size(1500)) == ("12 B", "1.5 kB")
    assert [duration(each) for each in (4.25, 59, 61, 3723)] == [
        *("4.2 s", "59 s", "1:01 min", "1:02:03"),
    ]
    assert title("best_val_accuracy") == "best validation accuracy"
