"""The benchmark runs to its end, and counts what there is; no figure is asserted."""

import json

import pytest

from tests.benchmarks.parameter_server import main


@pytest.mark.usefixtures("cluster_address")
def test_a_quick_run_ends(capsys):
    """It compares the first round of the server's workers with the bare processes' itself."""
    main(["--quick", "--repeats", "2", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"machine", "transport", "steps", "simulated"}
    transport = figures["transport"]["transport"]
    assert [(row["shards"], row["copies"]) for row in transport] == [(1, 2), (2, 3)]
    assert set(figures["steps"]["ratios"]) == {"float32"}
    rows = {row["name"]: row for row in figures["simulated"]["virtual"]}
    # Everybody begins once for each of its updates, and once more where it goes on at once: but
    # for the last update, which ends the run before its worker begins again.
    assert rows["asynchronous"]["events"] == 100 + 100 + 19
    assert rows["synchronous"]["events"] == 2 * 100
    assert all(row["events_a_second"] > 0 for row in rows.values())
