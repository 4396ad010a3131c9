"""The benchmark runs to its end, and counts what there is; no figure is asserted."""

import json

import pytest

from tests.benchmarks.tuning import main


@pytest.mark.usefixtures("cluster_address")
def test_a_quick_run_ends(capsys):
    main(["--quick", "--repeats", "1", "--json"])
    figures = json.loads(capsys.readouterr().out)
    assert set(figures) == {"machine", "overhead", "asha"}
    assert figures["overhead"]["trials"] == 4
    rows = {row["name"]: row["seconds"] for row in figures["overhead"]["overhead"]}
    assert rows["tune"][0] / rows["bare"][0] == figures["overhead"]["ratio"]
    asha = figures["asha"]
    assert asha["configurations"] == 4
    (halved,) = asha["halving"]
    assert 0.25 <= halved["share"] <= 1  # every trial has its first of four epochs
    assert asha["best"] > 0.8
    assert halved["missed"] < 0.5
