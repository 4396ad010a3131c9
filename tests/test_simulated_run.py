"""Whole runs under a virtual clock: stopped, resumed, counted in epochs, from the command line."""

import signal
from dataclasses import replace
from math import ceil

import numpy as np
import pandas as pd
import pytest

import raydl
from raydl import Callback, Checkpointing, Model, Run, SpecError
from raydl.algorithms import FedAsync, LocalSGD, ParameterServer
from raydl.assembly.assemble import assemble
from raydl.data import Uniform
from raydl.optim import SGD
from raydl.round import rounds
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.simulated.spec import Simulated
from raydl.signals import Interrupted
from tests.command import done, summary
from tests.virtual import HARSH, VARIED, WORKERS


class Stopper(Callback):
    def on_round(self, row):
        if row["round"] == 5:
            signal.raise_signal(signal.SIGTERM)


@pytest.mark.parametrize("algorithm", [WORKERS, FedAsync(epochs=1)])
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path, algorithm):
    asynchronous = Simulated(consistency=Asynchronous(discount=0.5), update_loss=0.1, **HARSH)
    run = Run(
        algorithm=algorithm,
        participation=Uniform(0.1),
        model=Model("MLP", {"hidden": [16]}),
        runtime=asynchronous,
        rounds=12,
        checkpoint=Checkpointing(every=4),
        storage=str(tmp_path),
        name="stopped",
    )
    whole = raydl.run(replace(run, name="whole"))
    with pytest.raises(Interrupted):
        raydl.run(run, callback=Stopper())
    history = raydl.run(run, resume=True)
    assert history.summary["fingerprint"] == whole.summary["fingerprint"]
    timeless = whole.table.columns.drop("wall_seconds")
    assert history.table[timeless].equals(whole.table[timeless])
    other = replace(run, runtime=replace(asynchronous, consistency=Asynchronous()), rounds=20)
    with pytest.raises(SpecError, match=r"runtime\.consistency: Asynchronous"):
        raydl.run(other, resume=True)


def test_a_run_counted_in_epochs_takes_as_many_samples_however_it_steps(tmp_path):
    """Then a schedule that follows the run's length ends when the run does."""
    workers = LocalSGD(4, batch_size=16, steps=2)
    run = Run(algorithm=workers, epochs=1, model=Model("MLP"), storage=str(tmp_path), name="a")
    sequential = raydl.run(replace(run, name="sequential", runtime=Sequential()))
    runtime = Simulated(consistency=Asynchronous(), speed=VARIED)
    asynchronous = raydl.run(replace(run, runtime=runtime))
    assert len(asynchronous.table) == pytest.approx(4 * len(sequential.table), abs=4)
    assert asynchronous.summary["samples"] == pytest.approx(
        sequential.summary["samples"], abs=4 * 2 * 16
    )


@pytest.mark.parametrize(
    "consistency", [Synchronous(), Synchronous(1), StaleSynchronous(1), Asynchronous(buffer=2)]
)
def test_the_schedule_of_a_server_ends_with_the_run(consistency):
    """Half a cosine over the server's steps, however many pushes make one."""
    algorithm = ParameterServer(4, SGD(lr=1.0), batch_size=16, exchanges=1)
    runtime = Simulated(consistency=consistency, speed=VARIED)
    run = Run(algorithm=algorithm, epochs=1, model=Model("Softmax"), runtime=runtime)
    problem, params = assemble(run)
    steps = ceil(len(problem.dataset.train.targets) / consistency.quorum(4) / 16)
    with runtime.open(problem) as opened:
        state = problem.algorithm.init(params)
        loop = rounds(problem.algorithm, opened, state, run.cohorts())
        rates = [float(next(loop).metrics["lr"]) for _ in range(steps)]
    expected = [(1 + np.cos(np.pi * step / steps)) / 2 for step in range(steps)]
    assert rates == pytest.approx(expected, abs=1e-6)


def test_rows_tell_what_was_stale_lost_and_late(tmp_path):
    workers = LocalSGD(4, batch_size=16, steps=2)
    run = Run(workers, model=Model("Softmax"), rounds=20, storage=str(tmp_path))

    def table(name, **conditions):
        runtime = Simulated(speed=VARIED, **conditions)
        return raydl.run(replace(run, name=name, runtime=runtime)).table

    asynchronous = table("asynchronous", consistency=Asynchronous(), update_loss=0.3)
    message = asynchronous["bytes_up"][0] / (1 + asynchronous["lost"][0])
    # In every round one update came, beside those that were sent in vain.
    assert (
        asynchronous["bytes_up"] == message * (asynchronous["round"] + asynchronous["lost"])
    ).all()
    assert asynchronous["lost"].iloc[-1] > 0
    assert (asynchronous["late"] == 0).all()
    assert (asynchronous["staleness"] == asynchronous["max_staleness"]).all()
    assert 0 < asynchronous["staleness"].max() <= 19

    backup = table("backup", consistency=Synchronous(1))
    assert backup["late"].tolist() == list(range(1, 21))  # one of four, in each step
    assert (backup[["staleness", "lost"]] == 0).all(axis=None)

    timeless = raydl.run(replace(run, name="sequential", runtime=Sequential())).table
    assert timeless["staleness"].isna().all()


def test_from_the_command_line(tmp_path):
    argv = "run --algorithm LocalSGD --workers 4 --steps 2 --batch_size 16 --schedule Constant"
    argv += " --runtime simulated --consistency StaleSynchronous --runtime.consistency.bound 1"
    argv += " --runtime.speed.spread 0.8 --runtime.down 1e6 --runtime.update_loss 0.1"
    argv = [*argv.split(), "--storage", tmp_path]
    done(*argv, "--name", "whole", "--rounds", 14)
    done(*argv, "--name", "parted", "--rounds", 5)
    done("run", "--resume", tmp_path / "parted", "--rounds", 14)
    tables = [pd.read_parquet(tmp_path / name / "metrics.parquet") for name in ("whole", "parted")]
    timeless = [
        table.drop(columns=["wall_seconds", "test_loss", "test_accuracy"]) for table in tables
    ]
    assert timeless[0].equals(timeless[1])
    assert timeless[0]["simulated_seconds"].is_monotonic_increasing
    whole, parted = (summary(tmp_path / name)["fingerprint"] for name in ("whole", "parted"))
    assert whole == parted
    told = done("run", "--runtime", "simulated", "--help")
    assert "bit/s from the server to a worker" in told
    assert "--runtime.consistency" in told
