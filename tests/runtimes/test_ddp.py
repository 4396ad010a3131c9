"""Processes that share every minibatch: the numbers of one process alone; under Ray Train."""

import pickle
import signal
from dataclasses import dataclass, replace

import pandas as pd
import pytest
import torch.distributed as dist
import torch.multiprocessing as mp

import raydl
from raydl import Checkpointing, Model, Run
from raydl.algorithms import DataParallel, FedAvg
from raydl.algorithms.distributed.hooks import BF16, PowerSGD
from raydl.core.algorithm import Scope
from raydl.core.errors import SpecError
from raydl.core.grad import parameters
from raydl.data import Digits
from raydl.optim import LAMB, SGD
from raydl.runtimes.allreduce.launch import portable
from raydl.runtimes.allreduce.runtime import AllReduceProcess as Process
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.spec import Sequential
from raydl.signals import Interrupted
from raydl.tasks import Classification
from tests.command import done, ended, outcome, start
from tests.federation import Faulty, Killer, OddError, federation, train
from tests.processes import Processes
from tests.runtimes.test_allreduce import Stopper, apart
from tests.waiting import until

ALGORITHM = DataParallel(SGD(lr=0.1, momentum=0.9), batch_size=60, steps=10)


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """Its folder is named from here; Ray Train's processes are elsewhere."""
    monkeypatch.chdir(tmp_path)
    mlp = Model("MLP", {"hidden": [16]})
    return Run(ALGORITHM, Digits(), model=mlp, epochs=2, storage="runs")


@pytest.fixture
def alone(spec):
    return raydl.run(replace(spec, name="alone", runtime=Sequential()))


@pytest.mark.parametrize(("workers", "microbatch"), [(2, 7), (3, None), (4, 2)])
def test_it_is_the_run_of_one_process(spec, alone, workers, microbatch):
    runtime = Processes(workers)
    history = raydl.run(replace(spec, name="shared", runtime=runtime, microbatch=microbatch))
    assert apart(history, alone) < 1e-5
    same = ["round", "samples", "local_steps", "train_accuracy", "val_accuracy"]
    pd.testing.assert_frame_equal(history.table[same], alone.table[same])
    losses = (each.table["train_loss"] for each in (history, alone))
    pd.testing.assert_series_equal(*losses, rtol=1e-5)
    # Ten gradients in one bucket each, and the round's own; 2 (K − 1) messages of every process.
    assert history.table["messages"][0] == 11 * 2 * (workers - 1) * workers
    gradients = 10 * 4 * alone.summary["parameters"] * 2 * (workers - 1)
    assert gradients < history.table["bytes_up"][0] < 1.3 * gradients


@pytest.mark.parametrize("microbatch", [None, 7])
def test_samples_count_as_in_one_process_whoever_has_them(spec, microbatch):
    """Of weighted classes, one of which is left out."""
    task = Classification(class_weights=tuple(range(1, 11)), ignore_index=3)
    spec = replace(spec, task=task, epochs=1)
    alone = raydl.run(replace(spec, name="alone", runtime=Sequential()))
    shared = raydl.run(replace(spec, name="shared", runtime=Processes(3), microbatch=microbatch))
    assert apart(shared, alone) < 1e-5
    for column in ("train_loss", "train_accuracy", "val_loss", "val_accuracy"):
        assert shared.summary[column] == pytest.approx(alone.summary[column], rel=1e-5)


@pytest.mark.usefixtures("cluster")
def test_an_elastic_group_takes_what_there_is_room_for(spec, tmp_path):
    """Of a cluster with 4 CPUs; 60 samples among 4 and among 3 would be cut evenly, 50 are not."""
    uneven = replace(spec.algorithm, batch_size=50)
    expected = raydl.run(replace(spec, algorithm=uneven, name="alone50", runtime=Sequential()))
    runtime = AllReduce("1..8")
    history = raydl.run(replace(spec, algorithm=uneven, name="elastic", runtime=runtime))
    assert history.table["messages"][0] == 11 * 2 * 3 * 4
    assert apart(history, expected) < 1e-5
    assert (tmp_path / history.path / "summary.json").exists()


def test_hooks_send_less(spec, alone):
    sent = {}
    for name, hook in {"bf16": BF16(), "low rank": PowerSGD(start=2)}.items():
        algorithm = replace(spec.algorithm, hook=hook)
        run = replace(spec, algorithm=algorithm, name=name, runtime=Processes(2))
        history = raydl.run(run)
        sent[name] = history.summary["bytes_up"]
        assert history.summary["test_accuracy"] > 0.8
        if name == "bf16":
            assert 1e-5 < apart(history, alone) < 1e-2
    whole = 2 * 4 * alone.summary["parameters"] * alone.summary["local_steps"]
    assert sent["low rank"] < 0.7 * whole
    assert 0.5 * whole < sent["bf16"] < 0.7 * whole  # what ends a round is float32


@pytest.mark.usefixtures("cluster")
def test_a_process_killed_in_mid_epoch_changes_nothing(spec, tmp_path):
    """The error that compression left is taken up again, too."""
    algorithm = replace(spec.algorithm, hook=PowerSGD(start=5), optimizer=LAMB(lr=0.01))
    run = replace(
        spec, algorithm=algorithm, runtime=Processes(2), checkpoint=Checkpointing(every=1)
    )
    for name in ("calm", "killed"):
        (tmp_path / name).mkdir()
    calm = Killer(str(tmp_path / "calm"), batch=10**9)
    expected = raydl.run(replace(run, name="undisturbed", augmentation=calm))
    steps = int(expected.summary["local_steps"])
    killer = Killer(str(tmp_path / "killed"), batch=steps)  # half of the way, of 2 processes
    history = raydl.run(replace(run, name="restarted", augmentation=killer, runtime=AllReduce(2)))
    assert len(list((tmp_path / "killed").iterdir())) > 2 * steps  # some of them again
    assert history.summary["fingerprint"] == expected.summary["fingerprint"]
    assert history.table["round"].tolist() == expected.table["round"].tolist()


@pytest.mark.usefixtures("cluster")
def test_an_error_of_the_users_code_is_told_once(spec, tmp_path):
    """One of two processes has it, while the other one waits for its gradient."""
    folder = tmp_path / "batches"
    folder.mkdir()
    run = replace(spec, epochs=100, augmentation=Faulty(str(folder), 25), runtime=AllReduce(2))
    with pytest.raises(OddError) as told:
        raydl.run(run)
    assert told.value.args == (25, "is odd")
    (note,) = told.value.__notes__
    assert "in a process of the group:\nTraceback" in note
    assert "raise OddError(self.batch" in note
    assert len(list(folder.iterdir())) in (25, 26)  # nobody began again


def test_an_error_arrives_as_what_it_is_or_in_words():
    for error in (OddError(1, "is odd"), SpecError("batch_size is 0"), KeyError("x")):
        again = pickle.loads(portable(error))
        assert (type(again), again.args) == (type(error), error.args)

    class HereError(Exception):
        def __init__(self, one: int, two: int) -> None:
            super().__init__(f"{one} and {two}")

    again = pickle.loads(portable(HereError(1, 2)))
    assert (type(again), str(again)) == (RuntimeError, "HereError: 1 and 2")


def test_error_feedback_survives_another_number_of_processes(spec):
    algorithm = replace(spec.algorithm, hook=PowerSGD(start=5))
    run = replace(spec, algorithm=algorithm, epochs=10, name="fewer", runtime=Processes(3))
    with pytest.raises(Interrupted):
        raydl.run(run, callback=Stopper())
    history = raydl.run(replace(run, runtime=Processes(2)), resume=True)
    assert history.summary["test_accuracy"] > 0.9


def test_sigkill_of_the_driver(cluster_address, tmp_path):
    options = ("--algorithm", "DataParallel", "--epochs", 20, "--storage", tmp_path)
    place = ("--workers", 2, "--runtime", "allreduce", "--runtime.address", cluster_address)
    process = start("run", *options, *place, "--name", "killed", cwd=tmp_path)
    folder = tmp_path / "killed"
    try:
        until(lambda: len(list(folder.glob("checkpoints/*/checkpoint.json"))) > 2)
    finally:
        process.send_signal(signal.SIGKILL)
        assert ended(process).code == -signal.SIGKILL
    assert not (folder / "summary.json").exists()
    place = ("--runtime", "tests.processes:Processes", "--runtime.workers", 2)
    done("run", "--resume", folder, *place)
    done("run", *options, *place, "--name", "whole")
    assert outcome(folder) == outcome(tmp_path / "whole")


@dataclass(frozen=True)
class NoSum(FedAvg):
    """One whose updates are put together in a way that an all-reduce cannot."""

    def build(self, *scope):
        algorithm = super().build(*scope)
        return algorithm._replace(reduce=algorithm.reduce._replace(additive=False))


def test_what_cannot_be_is_refused_before_ray_starts(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("Ray was started")

    monkeypatch.setattr("ray.init", never)
    monkeypatch.setattr("ray.is_initialized", lambda: False)
    spec = Run(ALGORITHM, Digits(), epochs=1, storage=str(tmp_path))
    with pytest.raises(SpecError, match=r"batch_size is 60; it must be a multiple of the 7 work"):
        raydl.run(replace(spec, runtime=AllReduce(7)))
    with pytest.raises(SpecError, match=r"runtime.gpus is 1, but torch finds 0 GPUs"):
        raydl.run(replace(spec, runtime=AllReduce(2, gpus=1)))
    with pytest.raises(SpecError, match=r"that share each minibatch cannot train under vmap"):
        raydl.run(replace(spec, runtime=AllReduce(2, batched=True)))
    with pytest.raises(SpecError, match=r"the algorithm's reduction is no sum"):
        raydl.run(replace(spec, algorithm=NoSum(), epochs=None, rounds=1, runtime=AllReduce(2)))
    for workers in (0, "4..1", "0..2", "many", "1..2..3"):
        with pytest.raises(SpecError, match=r"runtime.workers is .* it must be 1 or larger, or a"):
            AllReduce(workers)


def begin_differently(rank, rendezvous):
    dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=2)
    problem = federation(ALGORITHM.build(Scope(rounds=1)), clients=1)
    process = Process(problem)
    params = parameters(problem.task.model)
    state = problem.algorithm.init({name: leaf + rank for name, leaf in params.items()})
    with pytest.raises(RuntimeError, match="the processes begin with different parameters"):
        train(problem, process, state=state)
    dist.barrier()
    dist.destroy_process_group()


def test_different_first_parameters_are_noticed(tmp_path):
    mp.spawn(begin_differently, (f"file://{tmp_path}/rendezvous",), nprocs=2)
