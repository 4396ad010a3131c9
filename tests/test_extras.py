"""A node of a cluster, which has no packages that draw."""

import sys

import pytest

from raydl import Run, SpecError, run
from raydl.core.environment.extras import check_plots


@pytest.fixture
def no_plots(monkeypatch):
    for name in [each for each in sys.modules if each.split(".")[0] in ("matplotlib", "seaborn")]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("matplotlib", "seaborn"):
        monkeypatch.setitem(sys.modules, name, None)  # importing it fails from here on


def test_a_run_needs_nothing_that_draws(no_plots, tmp_path):
    history = run(Run(rounds=1, runtime="sequential", model="Softmax", storage=str(tmp_path)))
    assert history.summary["rounds"] == 1


def test_what_draws_says_what_is_missing(no_plots):
    with pytest.raises(SpecError, match=r"a study draws, but matplotlib and seaborn cannot be"):
        check_plots("a study")
