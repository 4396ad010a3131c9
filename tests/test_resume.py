"""A run that was stopped goes on to the numbers of the run that never was."""

import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raydl import Callback, Checkpointing, Model, Run, run
from raydl.algorithms import FedAvg
from raydl.core.algorithm import Algorithm, AlgorithmSpec, Plan
from raydl.data import Uniform
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import Sequential
from raydl.signals import Interrupted
from tests.command import done, outcome, raydl, refused, summary
from tests.federation import keeping


@dataclass(frozen=True)
class Keeping:
    """Clients that keep their momentum from round to round.

    Args:
        lr: learning rate.
    """

    lr: float = 0.1

    def build(self, scope) -> Algorithm:
        return keeping(Plan(batch_size=16), self.lr)


ALGORITHMS = {"FedAvg": FedAvg(epochs=1, batch_size=16), "Keeping": Keeping()}


class Stopper(Callback):
    """Sends this process a signal while the round after ``after`` is in hand."""

    def __init__(self, after: int, number: int = signal.SIGTERM) -> None:
        self.after, self.number = after, number

    def on_round(self, row):
        if row["round"] == self.after:
            signal.raise_signal(self.number)


def spec(storage: Path, algorithm: AlgorithmSpec = ALGORITHMS["FedAvg"]) -> Run:
    return Run(
        algorithm=algorithm,
        participation=Uniform(0.4),
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        clients=10,
        rounds=6,
        block_size=1,
        checkpoint=Checkpointing(every=2),
        storage=str(storage),
        name="a",
    )


def stop(spec: Run, after: int, resume: bool = False) -> Path:
    """Does a run, or goes on with it, until it is stopped in the round after ``after``."""
    with pytest.raises(Interrupted) as stopped:
        run(spec, resume=resume, callback=Stopper(after))
    assert (stopped.value.code, stopped.value.round) == (143, after + 1)
    assert stopped.value.path == f"{spec.storage}/{spec.name}"
    return Path(stopped.value.path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Callable[[str], Path]:
    """The folder of the run with an algorithm that was never stopped."""
    folders = {
        name: Path(run(spec(tmp_path_factory.mktemp(name), algorithm)).path)
        for name, algorithm in ALGORITHMS.items()
    }
    return folders.__getitem__


@pytest.fixture
def stopped(tmp_path) -> Path:
    """A run that was stopped after round 5 of 6, with checkpoints of rounds 2, 4 and 5."""
    folder = stop(spec(tmp_path), 4)
    assert checkpoints(folder) == ["000002", "000004", "000005"]
    return folder


def checkpoints(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / "checkpoints").iterdir())


def damage(folder: Path, name: str) -> None:
    file = folder / "checkpoints" / name / "state.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 0x80
    file.write_bytes(content)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_in_one_process(algorithm, whole, tmp_path):
    folder = stop(spec(tmp_path, ALGORITHMS[algorithm]), 2)
    assert not (folder / "summary.json").exists()
    done("run", "--resume", folder)
    assert outcome(folder) == outcome(whole(algorithm))


def test_from_one_runtime_to_another(whole, cluster, tmp_path):
    """From one process to two workers, stopped again, to one worker."""
    first = spec(tmp_path, ALGORITHMS["Keeping"])
    folder = stop(first, 1)
    stop(replace(first, runtime=Actors(workers=2)), 3, resume=True)
    done("run", "--resume", folder, "--runtime", "actors", "--runtime.workers", 1)
    assert outcome(folder) == outcome(whole("Keeping"))


def test_what_clients_keep_is_in_the_checkpoint(whole):
    tensors = load_file(whole("Keeping") / "checkpoints/000006/state.safetensors")
    clients, times = tensors["client_states/clients"], tensors["client_states/columns/rounds"]
    rounds = dict(zip(clients.tolist(), times.tolist(), strict=True))
    cohorts = Uniform(0.4).cohorts(10, seed=0)
    took_part = np.bincount(np.concatenate([next(cohorts) for _ in range(6)]), minlength=10)
    assert rounds == {client: times for client, times in enumerate(took_part) if times}
    assert len(tensors["client_states/columns/momentum/1.weight"]) == len(clients)


@pytest.mark.usefixtures("heeded")
def test_sigint_stops_as_well_and_a_second_one_at_once(tmp_path):
    with pytest.raises(Interrupted) as stopped:
        run(spec(tmp_path), callback=Stopper(1, signal.SIGINT))
    assert stopped.value.code == 130

    class Twice(Callback):
        def on_round(self, row):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt) as impatient:
        run(replace(spec(tmp_path), name="b", rounds=50), callback=Twice())
    assert not isinstance(impatient.value, Interrupted)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("damaged", [["000005"], ["000004", "000005"]], ids=["newest", "two"])
def test_a_damaged_checkpoint_costs_rounds_and_nothing_else(damaged, stopped, whole):
    for name in damaged:
        damage(stopped, name)
    ended = raydl("run", "--resume", stopped)
    assert ended.code == 0
    assert [line[:24] for line in ended.err.splitlines() if "damaged" in line] == [
        f"raydl: checkpoint {name}" for name in reversed(damaged)
    ]
    assert outcome(stopped) == outcome(whole("FedAvg"))
    board = EventAccumulator(str(stopped)).Reload()
    losses = board.Scalars("loss/training")
    assert [each.step for each in losses] == [1, 2, 3, 4, 5, 6]


def test_if_all_are_damaged_the_run_begins_again(stopped, whole):
    for name in checkpoints(stopped):
        damage(stopped, name)
    ended = raydl("run", "--resume", stopped)
    assert (ended.code, "is damaged" in ended.err) == (0, True)
    assert outcome(stopped) == outcome(whole("FedAvg"))


def test_a_run_killed_before_its_first_checkpoint_begins_again(stopped, whole):
    shutil.rmtree(stopped / "checkpoints")
    (stopped / "metrics.parquet").unlink()
    done("run", "--resume", stopped)
    assert outcome(stopped) == outcome(whole("FedAvg"))


def test_more_rounds_extend_a_finished_run(whole, tmp_path):
    short = Path(run(replace(spec(tmp_path), rounds=3)).path)
    printed = done("run", "--resume", short, "--rounds", 6)
    assert f"raydl run --resume {short} --rounds 12" in printed
    fingerprint, rows = outcome(short)
    expected, others = outcome(whole("FedAvg"))
    assert fingerprint == expected
    rows[2] |= {"test_loss": None, "test_accuracy": None}  # scored when it was the last
    assert rows == others
    assert yaml.safe_load((short / "run.yaml").read_text())["rounds"] == 6


def test_fewer_rounds_than_are_done_are_refused(stopped):
    said = refused("run", "--resume", stopped, "--rounds", 4)
    assert "rounds is 4; it must be 5 or larger" in said


def test_a_finished_run_has_nothing_to_go_on_with(whole, tmp_path):
    folder = tmp_path / "a"
    shutil.copytree(whole("FedAvg"), folder)
    before, saved = summary(folder), checkpoints(folder)
    assert "raydl show" in done("run", "--resume", folder)
    assert summary(folder) == before
    assert checkpoints(folder) == saved
    assert outcome(folder) == outcome(whole("FedAvg"))


def test_another_spec_is_refused_and_the_differences_listed(stopped):
    said = refused(
        *("run", "--resume", stopped, "--algorithm.lr", 0.5, "--seed", 3),
        *("--model", "Softmax", "--runtime", "batched", "--checkpoint.every", 1),
    )
    for line in (
        "  algorithm.lr: 0.1 then, 0.5 now",
        "  model.hidden: [16] then, None now",
        "  model.name: MLP then, Softmax now",
        "  runtime.batched: False then, True now",
        "  seed: 0 then, 3 now",
    ):
        assert line in said.splitlines()
    assert "checkpoint.every" not in said
    assert "begin a new run with another --name" in said
    assert "algorithm.name: FedAvg then, FedSGD now" in refused(
        "run", "--resume", stopped, "--algorithm=FedSGD"
    )


def test_by_its_name_in_the_storage(stopped, whole, monkeypatch):
    monkeypatch.chdir(stopped.parent.parent)
    done("run", "--resume", "a", "--storage", stopped.parent.name)
    assert outcome(stopped) == outcome(whole("FedAvg"))


def test_an_unfinished_run_is_shown_as_such(stopped):
    shown = done("show", stopped)
    assert f"{stopped} (unfinished)" in shown
    assert "5 of 6" in shown


def test_a_run_that_left_its_numbers_open_goes_on(stopped, whole):
    """As runs did that were begun before run.yaml said them."""
    file = stopped / "run.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["evaluation"]["every"] = None
    for name in ("task", "stop", "log"):
        del settings[name]
    file.write_text(yaml.safe_dump(settings))
    done("run", "--resume", stopped)
    assert outcome(stopped) == outcome(whole("FedAvg"))
