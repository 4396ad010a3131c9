"""Who is told of a run, and what becomes of it if that goes wrong."""

from dataclasses import replace
from pathlib import Path

import pytest

import raydl
from raydl import Callback, Checkpointing, Model, Run, SpecError, Stopping
from raydl.algorithms import FedAvg
from raydl.runtimes.local.spec import Sequential
from raydl.signals import Interrupted
from tests.command import done, outcome


@pytest.fixture
def spec(tmp_path) -> Run:
    return Run(
        algorithm=FedAvg(epochs=1, batch_size=16),
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        clients=20,
        rounds=5,
        checkpoint=Checkpointing(every=100),
        log="none",
        storage=str(tmp_path),
        name="a",
    )


class Diary(Callback):
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def on_stage(self, stage):
        self.pages.append(str(stage))

    def on_start(self, run, problem, folder):
        self.pages.append("start")

    def on_round(self, row):
        self.pages.append(f"{row['round']}")

    def on_end(self, history):
        self.pages.append(f"end {history.summary['rounds']}")

    def on_error(self, error):
        self.pages.append(f"error {error}")


@pytest.mark.pictures
def test_what_is_told_and_when(spec):
    diary = Diary()
    raydl.run(replace(spec, rounds=2), callback=diary)
    assert diary.pages == [
        *("loading the data", "checking how the parts fit together", "start"),
        *("setting up the runtime", "round 1", "1", "2"),
        *("scoring the test set", "drawing the curves", "end 2"),
    ]


def test_functions_and_lists_of_callbacks(spec):
    diary, losses = Diary(), []
    raydl.run(spec, callback=[diary, lambda row: losses.append(row["train_loss"])])
    assert len(losses) == 5
    assert diary.pages[-1] == "end 5"


@pytest.mark.parametrize("given", [3, "a", Callback, [print, None, 4]], ids=str)
def test_what_is_no_callback_is_refused(spec, given):
    with pytest.raises(SpecError, match="callback is"):
        raydl.run(spec, callback=given)
    assert list(Path(spec.storage).iterdir()) == []


def raising(number):
    def tell(row):
        if row["round"] == number:
            raise RuntimeError("no more")

    return tell


@pytest.mark.pictures
@pytest.mark.parametrize("number", [1, 3, 5])
def test_one_that_raises_ends_the_run_in_order(spec, number):
    whole = raydl.run(replace(spec, name="whole"))
    diary = Diary()
    with pytest.raises(RuntimeError, match="no more") as raised:
        raydl.run(spec, callback=[raising(number), diary])
    folder = Path(spec.storage, "a")
    (saved,) = (folder / "checkpoints").iterdir()
    assert int(saved.name) == min(number + 1, 5)  # the round in hand was finished
    assert f"raydl run --resume {folder}" in raised.value.__notes__[0]
    assert diary.pages[-1] == "error no more"
    assert (folder / "curves.png").exists()
    done("run", "--resume", folder)
    assert outcome(folder) == outcome(Path(whole.path))


def flat(patience):
    """A rate at which nothing is learned, so that no score is better than the first."""
    return {"algorithm": FedAvg(lr=1e-9, epochs=1), "stop": Stopping(patience)}


def test_a_run_ends_when_it_becomes_no_better(spec):
    history = raydl.run(replace(spec, rounds=20, **flat(3)))
    assert history.summary["rounds"] == 4
    assert history.summary["stopped_early"]
    assert history.table["val_accuracy"].nunique() == 1
    again = raydl.run(replace(spec, rounds=20, **flat(3)), resume=True)
    assert again.summary == history.summary


def test_a_run_that_becomes_better_goes_on(spec):
    history = raydl.run(replace(spec, stop=Stopping(4)))
    assert history.summary["rounds"] == 5
    assert not history.summary["stopped_early"]


def test_it_ends_where_it_would_have_after_a_resume(spec):
    spec = replace(spec, rounds=20, checkpoint=Checkpointing(every=2), **flat(6))
    whole = raydl.run(replace(spec, name="whole"))
    with pytest.raises(RuntimeError):
        raydl.run(spec, callback=raising(3))
    resumed = raydl.run(spec, resume=True)
    assert resumed.summary["rounds"] == 7
    assert outcome(Path(resumed.path)) == outcome(Path(whole.path))


def test_more_patience_extends_a_run(spec):
    raydl.run(replace(spec, rounds=20, **flat(2)))
    longer = raydl.run(replace(spec, rounds=20, **flat(4)), resume=True)
    assert longer.summary["rounds"] == 5


def test_who_is_told_of_an_interruption(spec):
    import signal

    diary = Diary()

    def stop(row):
        if row["round"] == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Interrupted):
        raydl.run(spec, callback=[stop, diary])
    assert diary.pages[-1].startswith("error stopped after round 3")
