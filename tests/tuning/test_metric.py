"""How values of a task's metric are ranked and told, and what trials can be compared by."""

from dataclasses import dataclass, replace
from math import inf, nan
from typing import ClassVar

import pandas as pd
import pytest
from matplotlib.figure import Figure

from raydl import Run, SpecError
from raydl.data import Synthetic
from raydl.tasks import Classification, NextToken, Regression, Segmentation
from tests.odd import Plane
from tuning.metric import ACCURACY, Metric, finite
from tuning.sweep.results.agreement import common_metric
from tuning.sweep.results.figures import _colors, _line, _scale
from tuning.sweep.results.table import best_of, in_words

RMSE = Metric.of(Regression())
RUN = Run(data=Synthetic(samples=40, test=4))


@pytest.mark.parametrize(
    ("metric", "column", "label", "text"),
    [
        (ACCURACY, "val_accuracy", "validation accuracy (%)", "12.35 ± 0.68 %"),
        (RMSE, "val_rmse", "validation rmse", "0.1235 ± 0.0068"),
        (Metric.of(Segmentation()), "val_iou", "validation iou (%)", "12.35 ± 0.68 %"),
        (
            Metric("log_loss", False, False),
            "val_log_loss",
            "validation log loss",
            "0.1235 ± 0.0068",
        ),
    ],
)
def test_a_metric_is_told_as_its_task_says(metric, column, label, text):
    assert metric.column == column
    assert metric.label("validation") == label
    assert metric.text(0.12345, 0.0067891) == text
    assert metric.text(0.12345) == text.partition(" ±")[0] + (" %" if metric.share else "")


def test_the_loss_is_one_column():
    assert Metric.of(NextToken()).columns("val") == ("val_loss",)
    assert RMSE.columns("test") == ("test_rmse", "test_loss")


@pytest.mark.parametrize(
    ("metric", "ranked"), [(ACCURACY, [0.9, 0.5, 0.0]), (RMSE, [0.0, 0.5, 0.9])]
)
def test_the_best_comes_first_and_what_has_no_value_last(metric, ranked):
    values = [0.5, None, 0.9, nan, 0.0, inf, -inf]
    scored = sorted(values, key=metric.score, reverse=True)
    assert scored[:3] == ranked
    scores = [metric.score(each) for each in scored]
    assert len(set(scores[3:])) == 1  # whoever compares trials takes their means
    assert pd.Series(scores).map(finite).notna().all()
    table = pd.DataFrame({metric.column: map(finite, values), "number": range(7)})
    first = metric.best_first(table)
    assert list(first[metric.column][:3]) == ranked
    assert list(first["number"][3:]) == [1, 3, 5, 6]


def test_the_best_trial_is_one_that_finished_with_a_value():
    rows = [
        {"number": 0, "outcome": "finished", "val_rmse": None},
        {"number": 1, "outcome": "stopped", "val_rmse": 0.1},
        {"number": 2, "outcome": "finished", "val_rmse": 0.3},
        {"number": 3, "outcome": "finished", "val_rmse": 0.2},
        {"number": 4, "outcome": "finished", "val_rmse": 0.2},
        {"number": 5, "outcome": "begun", "val_rmse": None},
    ]
    assert best_of(rows, RMSE) == rows[3]
    assert best_of(rows[:2], RMSE) is None
    assert [in_words(row, RMSE) for row in (*rows[:3], rows[5])] == [
        "no rmse",
        "validation rmse 0.1, stopped",
        "validation rmse 0.3",
        "not scored yet",
    ]


@pytest.mark.parametrize(
    ("metric", "values", "scale", "brightest"),
    [
        (ACCURACY, [0.01, 0.9], "linear", 0.9),
        (RMSE, [0.1, 0.2], "linear", 0.1),
        (RMSE, [0.1, 100.0], "log", 0.1),
        (Metric("r2", True, False), [-10.0, 0.9], "linear", 0.9),
    ],
)
def test_the_better_is_the_brighter(metric, values, scale, brightest):
    values = pd.Series(values)
    assert _scale(metric, values) == scale
    brightness = _colors(metric, values).to_rgba(values.to_numpy())[:, :3].sum(1)
    assert values[brightness.argmax()] == brightest


@pytest.mark.parametrize(
    ("metric", "best", "scale"), [(ACCURACY, [30.0, 80.0], "linear"), (RMSE, [0.1, 0.05], "log")]
)
def test_a_line_joins_the_best_of_each_value(metric, best, scale):
    table = pd.DataFrame({"lr": [0.1, 0.2, 0.1, 0.2], metric.column: [0.3, 0.05, 0.1, 0.8]})
    axes = Figure().subplots()
    _line(table, metric, "lr", [axes], listed=True)
    assert list(axes.lines[0].get_ydata()) == pytest.approx(best)
    assert (axes.get_ylabel(), axes.get_yscale()) == (metric.label("validation"), scale)


@dataclass(frozen=True)
class Pinball(Regression):
    """The loss of a quantile, by which it is compared."""

    quantile: float = 0.5

    best: ClassVar[str] = "loss"


def test_trials_are_compared_by_what_is_usual_for_their_data():
    assert common_metric([RUN]) == ACCURACY
    assert common_metric([replace(RUN, data=Plane())]) == RMSE
    assert common_metric([RUN, replace(RUN, task=Classification(label_smoothing=0.1))]) == ACCURACY
    assert common_metric([RUN], Plane().load()) == RMSE  # the data that is at hand


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        (
            [RUN, replace(RUN, data=Plane())],
            r"Classification by accuracy \(higher is better\), Regression by rmse \(lower is",
        ),
        (
            [replace(RUN, task=Pinball(quantile=each)) for each in (0.1, 0.9)],
            "by the loss, which task.quantile changes",
        ),
    ],
)
def test_trials_that_cannot_be_compared_are_refused(runs, told):
    with pytest.raises(SpecError, match=told):
        common_metric(runs)
