"""The benchmark compares like with like, and runs to its end; no figure is asserted."""

import json

import pytest

from raydl.core.grad import parameters
from raydl.runtimes.local.runtime import LocalRuntime
from tests.benchmarks.bare import Bare, give
from tests.benchmarks.contenders import Raydl, distance
from tests.benchmarks.engine import main
from tests.benchmarks.workloads import TIMED, prepare


@pytest.mark.parametrize("name", TIMED)
@pytest.mark.parametrize(("precision", "apart"), [("float32", 1e-4), ("bf16", 1e-2)])
def test_the_bare_loop_trains_what_raydl_trains(name, precision, apart):
    workload = TIMED[name](quick=True)
    if name == "W7" and precision not in workload.precisions:
        pytest.skip("this processor has no LSTM in bfloat16")
    prepared = prepare(workload, rounds=2)
    problem = prepared.problem(precision)
    bare = Bare(prepared, give(prepared), precision)
    raydl = Raydl(problem, LocalRuntime(problem), prepared.cohorts())
    for _ in range(2):
        bare.round()
        raydl.round()
    assert distance(raydl.params(), bare.params(), parameters(prepared.model)) < apart


@pytest.mark.usefixtures("cluster_address")
def test_a_quick_run_ends(capsys):
    main(["--quick", "--repeats", "1", "--only", "W2,W4,W5", "--json"])
    figures = json.loads(capsys.readouterr().out)

    assert set(figures) == {"machine", "W2", "W4", "W5"}
    rows = figures["W2"]["contenders"]
    assert {row["name"] for row in rows} == {
        "bare",
        "sequential",
        "batched",
        "actors",
        "actors, batched",
    }
    assert min(row["ratio"] for row in rows if row["bare"]) == 1
    assert all(len(row["seconds"]) == 1 for row in rows)
    empty = figures["W2"]["empty_round"]
    assert empty["median"] > empty["transport"] > 0
    assert len(figures["W4"]["memory"]) == 3
    assert figures["W4"]["ratio"] > 0
    assert [row["name"] for row in figures["W5"]["runtimes"]] == ["batched", "actors (2), batched"]
    assert figures["W5"]["checkpoint"]["bytes"] == 1000 * 650 * 4
