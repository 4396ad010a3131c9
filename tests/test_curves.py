"""Curves: lines of several seeds as one, and figures that cover nothing."""

import numpy as np
import pandas as pd
import pytest

from raydl.config.dials import dials
from raydl.data import ClassesPerClient, Dirichlet, Skewed
from raydl.run_folder.results.curves import mean_and_spread, plot_run, plot_runs
from raydl.run_folder.results.wording import Measure


def line(across, up):
    return np.array(across, float), np.array(up, float)


def test_seeds_over_the_same_points():
    across, mean, spread = mean_and_spread([line([1, 2], [1, 4]), line([1, 2], [3, 8])])
    assert across.tolist() == [1, 2]
    assert mean.tolist() == [2, 6]
    np.testing.assert_allclose(spread, np.std([[1, 4], [3, 8]], axis=0, ddof=1))


def test_seeds_over_other_points_are_compared_where_all_of_them_are():
    lines = [line([0, 10], [0, 10]), line([2, 5, 12], [4, 10, 24])]  # y = x and y = 2 x
    across, mean, spread = mean_and_spread(lines)
    assert (across[0], across[-1]) == (2, 10)
    np.testing.assert_allclose(mean, 1.5 * across)
    np.testing.assert_allclose(spread, across / np.sqrt(2))


@pytest.fixture
def table() -> pd.DataFrame:
    rounds = np.arange(1, 7)
    return pd.DataFrame(
        {
            "round": rounds,
            "bytes_up": 2_000_000 * rounds,
            "train_loss": 1.0 / rounds,
            "val_accuracy": [0.1, 0.3, 0.6, 0.5, 0.6, 0.4],
            "val_loss": 2.0 / rounds,
            "test_accuracy": [np.nan] * 5 + [0.45],
        }
    )


def test_a_run(table):
    left, right = plot_run(table, Measure(), "title").axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("accuracy (%)", "loss")
    marked = left.lines[-1]
    assert (marked.get_xdata()[0], marked.get_ydata()[0]) == (3, 60)  # of equal ones the first
    names = [text.get_text() for text in left.get_legend().get_texts()]
    assert names == ["validation", "test", "60.00 %, round 3"]
    figure = left.figure
    figure.canvas.draw()
    box = left.get_legend().get_window_extent()
    assert box.y0 >= left.get_window_extent().y1 - 1


def test_runs_in_units(table):
    groups = {"one": [table], "two": [table, table.assign(val_accuracy=0.2)]}
    (axes,) = plot_runs(groups, "bytes_up", "val_accuracy", Measure(), "title").axes
    assert axes.get_xlabel() == "bytes up (MB)"
    assert axes.get_ylabel() == "validation accuracy (%)"
    assert axes.lines[0].get_xdata().tolist() == [2, 4, 6, 8, 10, 12]
    assert len(axes.collections) == 2  # the band, and its place in the legend
    names = [text.get_text() for text in axes.get_legend().get_texts()]
    assert names == ["one", "two (2 seeds)", "± deviation over seeds"]


def test_dials():
    assert dials(ClassesPerClient(5), Skewed(0.1, gamma=0.5)) == "N_c = 5, C = .1, γ = .5"
    assert dials(Dirichlet(alpha=1.0)) == "α = 1"
