"""The benchmark runs to its end, and raydl has the bare loop's numbers; no figure is asserted."""

import json

from tests.benchmarks.regression import main


def test_a_quick_run_ends(capsys):
    main(["--quick", "--repeats", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)["table"]["contenders"]
    assert [row["name"] for row in rows] == ["bare bmm", "batched"] * 2
    assert all(row["apart"] < 1e-5 for row in rows)
