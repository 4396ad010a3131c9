"""What tasks draw: the numbers in the pictures are those of the predictions."""

import numpy as np
import pytest
import torch
from sklearn.metrics import precision_recall_fscore_support

from raydl.core.errors import Notice
from raydl.run_folder.results.pictures import draw_predictions
from raydl.runtimes.worker.evaluation import score_outputs
from raydl.storage import Folder
from raydl.tasks import Classification, MultiLabel, NextToken, Reconstruction, Regression


def drawn(task, outputs, targets):
    figure = task.figure(score_outputs(task, outputs, targets).statistics, "title")
    figure.canvas.draw()
    return figure.axes[0]


@pytest.mark.parametrize("task", [Regression(), Reconstruction()], ids=["one", "several"])
def test_the_share_within_an_error(task):
    shape = (1000,) if type(task) is Regression else (250, 4)
    generator = torch.Generator().manual_seed(0)
    targets, outputs = (torch.randn(shape, generator=generator) for _ in "ab")
    axes = drawn(task, outputs, targets)
    (line, _) = axes.get_lines()
    errors = (outputs - targets).abs().flatten().numpy()
    shares = [100 * np.mean(errors <= each) for each in line.get_xdata()]
    np.testing.assert_allclose(line.get_ydata(), shares)
    middle = float(axes.get_title(loc="left").rpartition(" ")[2])
    assert middle == pytest.approx(np.median(errors), rel=0.05)


def test_nothing_is_within_what_is_no_number():
    (line,) = drawn(Regression(), torch.full((5,), float("nan")), torch.ones(5)).get_lines()
    assert not np.any(line.get_ydata())


def test_precision_and_recall_of_labels():
    generator = torch.Generator().manual_seed(0)
    outputs, due = torch.randn(200, 3, generator=generator), torch.rand(200, 3).lt(0.3).float()
    heights = [bar.get_height() for bar in drawn(MultiLabel(), outputs, due).patches]
    expected = precision_recall_fscore_support(due, outputs > 0, average=None)
    np.testing.assert_allclose(heights, 100 * np.concatenate(expected[:2]))


def test_the_confusion_of_classes():
    outputs, targets = torch.eye(3)[[0, 0, 1, 2]], torch.tensor([0, 1, 1, 2])
    axes = drawn(Classification(), outputs, targets)
    np.testing.assert_array_equal(
        axes.images[0].get_array(), [[100, 0, 0], [50, 50, 0], [0, 0, 100]]
    )


def test_tokens_are_not_drawn(tmp_path):
    score = score_outputs(NextToken(), torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64))
    assert draw_predictions(Folder(str(tmp_path)), "a.png", NextToken(), score, "title") is None


class Wrong(Regression):
    def figure(self, statistics, title):
        return statistics["what is not there"]


def test_an_own_figure_that_fails_is_told(tmp_path):
    score = score_outputs(Wrong(), torch.zeros(2), torch.zeros(2))
    with pytest.warns(Notice, match="Wrong.figure failed: KeyError: 'what is not there'"):
        assert draw_predictions(Folder(str(tmp_path)), "a.png", Wrong(), score, "title") is None
    assert not list(tmp_path.iterdir())
