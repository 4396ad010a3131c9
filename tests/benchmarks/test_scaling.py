"""The benchmark runs to its end, and counts what there is; no figure is asserted."""

import json

import pytest

from tests.benchmarks.scaling import main


@pytest.mark.nodes
def test_a_quick_run_ends(capsys):
    main(["--quick", "--repeats", "2", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"machine", "efficiency", "driver"}
    for row, nodes in zip(figures["efficiency"]["efficiency"], (1, 2), strict=True):
        assert row["nodes"] == nodes
        assert 0 < row["ratio"] <= 1  # of 4 blocks that sleep one after the other on each node
    rows = figures["driver"]["driver"]
    assert [row["fan_in"] for row in rows] == [1, 2]
    assert all(0 < row["thread"] <= row["wall"] for row in rows)
    assert all(row["feeds"] == int(0.5 / row["thread"]) for row in rows)
    assert figures["driver"]["bytes"] == 4 * (64 * 32 + 32 + 32 * 10 + 10)
