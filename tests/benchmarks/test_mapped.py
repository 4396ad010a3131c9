"""The benchmark runs to its end, and its contenders compute the same; no figure is asserted."""

import json

import pytest

from tests.benchmarks.mapped import main


@pytest.mark.usefixtures("cluster_address")
def test_a_quick_run_ends(capsys):
    main(["--quick", "--repeats", "2", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"machine", "W3", "gather"}
    rows = figures["W3"]["mapped"]
    assert [row["name"] for row in rows[:2]] == ["sequential, tensors", "sequential, mapped"]
    assert [row["ratio"] == 1 for row in rows[::2]] == [True, True]
    assert [row["name"] for row in figures["gather"]["gathered"]] == [
        *("the disk", "mapped files", "a tensor"),
    ]
