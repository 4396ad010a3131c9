"""The benchmark runs to its end, and counts what there is; no figure is asserted."""

import json

from tests.benchmarks.parameter_server import main


def test_a_quick_run_ends(capsys):
    main(["--quick", "--only", "simulated", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"machine", "simulated"}
    rows = {row["name"]: row for row in figures["simulated"]["cases"]}
    # Everybody begins once for each of its updates, and once more where it goes on at once: but
    # for the last update, which ends the run before its worker begins again.
    assert rows["asynchronous"]["events"] == 100 + 100 + 19
    assert rows["synchronous"]["events"] == 2 * 100
    assert all(row["events_a_second"] > 0 for row in rows.values())
