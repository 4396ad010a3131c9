"""Traces: read, refused, and replayed bit for bit."""

import pytest
import torch

from raydl import SpecError
from raydl.runtimes.clock import Arrival, Replay, read_trace, traced, write_trace
from raydl.runtimes.consistency import Asynchronous
from raydl.runtimes.simulated import VirtualTime
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
    resumed.restore(again.kept())
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
    rows = {name: torch.cat([each.clients[name] for each in expected]) for name in names}
    clock = Replay(traced(rows), 12)
    runtime = VirtualTime(problem, clock, conditions["consistency"])
    got = train(problem, runtime, 12, cohorts=EVERYONE)
    assert fingerprints(got) == fingerprints(expected)


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
    runtime = VirtualTime(problem, Replay(trace, 2), Asynchronous())
    got = train(problem, runtime, 3, cohorts=[torch.arange(2).numpy()] * 3)
    assert [each.clients["client"].item() for each in got] == [1, 1, 0]
    assert [each.clients["staleness"].item() for each in got] == [0, 0, 2]
    assert sum(each.simulated_seconds for each in got) == pytest.approx(1.0)
