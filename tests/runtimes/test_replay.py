"""Traces: read, refused, and replayed bit for bit."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import raydl
from raydl import Checkpointing, Model, Run, SpecError
from raydl.algorithms import FedAvg, ParameterServer
from raydl.data import Uniform
from raydl.optim import SGD
from raydl.optim.schedule import Constant
from raydl.runtimes import ShardedServer
from raydl.runtimes.asynchrony.clock import Replay
from raydl.runtimes.asynchrony.consistency import Asynchronous, Synchronous
from raydl.runtimes.asynchrony.trace import Arrival, read_trace, trace_of, write_trace
from raydl.runtimes.asynchrony.virtual_time import VirtualTimeRuntime
from raydl.runtimes.simulated.spec import Simulated
from tests.command import done, summary
from tests.federation import federation, fingerprints, train
from tests.virtual import CASES, EQUAL, EVERYONE, HARSH, simulated


@pytest.mark.parametrize("case", CASES)
def test_a_trace_is_replayed_bitwise(case, tmp_path):
    name, conditions = CASES[case]
    problem = federation(EQUAL[name])
    cohorts = {"cohorts": EVERYONE} if name in ("LocalSGD", "keeping") else {}
    runtime = simulated(problem, **HARSH | conditions)
    expected = train(problem, runtime, 12, **cohorts)
    write_trace(runtime.trace, str(tmp_path / "trace.parquet"))
    assert read_trace(str(tmp_path / "trace.parquet")) == runtime.trace
    again = simulated(problem, replay=str(tmp_path / "trace.parquet"), **conditions)
    assert isinstance(again._clock, Replay)
    half = train(problem, again, 6, **cohorts)
    resumed = simulated(problem, replay=str(tmp_path / "trace.parquet"), **conditions)
    resumed.restore(again.state())
    got = half + train(problem, resumed, 6, start=6, state=half[-1].state, **cohorts)
    assert fingerprints(got) == fingerprints(expected)
    with pytest.raises(SpecError, match="the trace has 12 steps"):
        train(problem, resumed, 1, start=12, **cohorts)


@pytest.mark.parametrize("case", ["asynchronous", "buffer", "stale", "backup", "keeping"])
def test_the_rows_of_a_run_tell_its_trace(case):
    name, conditions = CASES[case]
    problem = federation(EQUAL[name])
    expected = train(problem, simulated(problem, **HARSH | conditions), 12, cohorts=EVERYONE)
    names = ("client", "begun", "staleness")
    rows = {name: torch.cat([each.clients[name] for each in expected]).tolist() for name in names}
    clock = Replay(trace_of(rows), 12)
    runtime = VirtualTimeRuntime(problem, clock, conditions["consistency"])
    got = train(problem, runtime, 12, cohorts=EVERYONE)
    assert fingerprints(got) == fingerprints(expected)


def repeated(folder: Path) -> Path:
    """The folder of a run that repeats what a run's folder holds, in one process."""
    again = folder.with_name("again")
    config = folder / "run.yaml"
    done("run", "--config", config, "--runtime.replay", folder, "--name", again.name)
    return again


def timeless(folder: Path) -> pd.DataFrame:
    table = pd.read_parquet(folder / "metrics.parquet")
    seconds = ["wall_seconds", "simulated_seconds"]
    # One process is one server in one piece; and where a run stopped, the test set was scored.
    return table.drop(columns=[*seconds, "messages", "test_loss", "test_accuracy"])


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("algorithm", "consistency", "shards", "stopped"),
    [
        (ParameterServer(2, SGD(0.01), Constant(), 16, 2, 10), Asynchronous(discount=0.5), 2, 2),
        (ParameterServer(3, SGD(0.01), Constant(), 16, 1, 10), Synchronous(backup=1), 1, None),
    ],
    ids=["asynchronous", "backup"],
)
def test_a_run_on_actors_is_replayed_from_its_folder(
    algorithm, consistency, shards, stopped, tmp_path
):
    run = Run(
        algorithm=algorithm,
        model=Model("MLP", {"hidden": [16]}),
        runtime=ShardedServer(shards, consistency, cpus=1 / 4),
        rounds=4,
        checkpoint=Checkpointing(every=2),
        storage=str(tmp_path),
        name="served",
    )
    if stopped:
        raydl.run(replace(run, rounds=stopped))
    raydl.run(run, resume=stopped is not None)
    served, again = tmp_path / "served", repeated(tmp_path / "served")
    assert summary(again)["fingerprint"] == summary(served)["fingerprint"]
    if isinstance(consistency, Synchronous):  # what came late is not trained again
        assert timeless(again)["val_loss"].equals(timeless(served)["val_loss"])
    else:
        assert timeless(again).equals(timeless(served))
        assert timeless(served)["max_staleness"].max() > 0


def test_a_run_in_virtual_time_is_replayed_from_its_folder(tmp_path):
    """Partial work and the time of each arrival are in the trace."""
    late = Simulated(deadline=4.0, partial=True, **HARSH)
    run = Run(
        algorithm=FedAvg(epochs=1, batch_size=16),
        participation=Uniform(0.4),
        clients=10,
        model=Model("MLP", {"hidden": [16]}),
        runtime=late,
        rounds=5,
        storage=str(tmp_path),
        name="virtual",
    )
    raydl.run(run)
    again = repeated(tmp_path / "virtual")
    assert summary(again)["fingerprint"] == summary(tmp_path / "virtual")["fingerprint"]
    told = read_trace(str(tmp_path / "virtual"))
    assert {each.round for each in told} == {1, 2, 3, 4, 5}
    assert any(each.steps is not None for each in told)
    assert read_trace(str(again)) == told


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ([Arrival(2, 0, 0, 1.0)], "is of worker 2; there are 2"),
        ([Arrival(0, 0, 1, 1.0)], "skips a step of the server"),
        ([Arrival(0, 0, 0, 1.0), Arrival(1, 0, 2, 1.0)], "step 0 came before"),
        ([Arrival(0, 0, 0, 2.0), Arrival(1, 0, 1, 1.0)], "is earlier than the one before"),
        ([Arrival(0, 1, 0, 1.0)], "began from version 1, which its worker could not"),
        ([Arrival(0, 0, 0, 1.0), Arrival(1, 0, 1, 1.0), Arrival(1, 0, 2, 2.0)], "until version 1"),
    ],
)
def test_traces_that_cannot_have_happened(trace, message):
    with pytest.raises(SpecError, match=message):
        Replay(trace, 2)


def test_the_runtime_takes_any_clock():
    """Such as the order in which the actors of a server came, put together by hand."""
    problem = federation(EQUAL["LocalSGD"], clients=2)
    trace = [Arrival(1, 0, 0, 0.5), Arrival(1, 1, 1, 0.9), Arrival(0, 0, 2, 1.0)]
    runtime = VirtualTimeRuntime(problem, Replay(trace, 2), Asynchronous())
    got = train(problem, runtime, 3, cohorts=[torch.arange(2).numpy()] * 3)
    assert [each.clients["client"].item() for each in got] == [1, 1, 0]
    assert [each.clients["staleness"].item() for each in got] == [0, 0, 2]
    assert sum(each.simulated_seconds for each in got) == pytest.approx(1.0)
