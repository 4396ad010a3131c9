"""The benchmark runs to its end; what it measures is nobody's assertion."""

import json

from tests.benchmarks.engine import main


def test_quick_run(capsys):
    main(["--quick", "--repeats", "1", "--only", "W1,W2,W4", "--json"])
    figures = json.loads(capsys.readouterr().out)

    assert set(figures) == {"machine", "W1", "W2", "W4"}
    for part in ("W1", "W2"):
        rows = figures[part]["contenders"]
        assert min(row["ratio"] for row in rows if row["bare"]) == 1
        names = {row["name"] for row in rows if row["precision"] == "float32"}
        assert names == {"bare", "sequential", "batched", "actors", "actors, batched"}
        assert all(len(row["seconds"]) == 1 for row in rows)
    assert {row["precision"] for row in figures["W1"]["contenders"]} == {"float32", "bf16"}
    assert figures["W2"]["empty_round"]["median"] > figures["W2"]["empty_round"]["folding"] > 0
    assert len(figures["W4"]["memory"]) == 3
    assert figures["W4"]["ratio"] > 0
