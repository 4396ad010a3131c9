"""Losses and metrics against torch, torchmetrics and scikit-learn, for any cut of the samples."""

from functools import reduce
from itertools import pairwise
from operator import add
from types import SimpleNamespace

import pytest
import torch
import torchmetrics.functional as tm
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk
from torch import Tensor, nn
from torch.nn import functional as f
from torchmetrics.functional.text import perplexity

from raydl.core.errors import SpecError
from raydl.core.grad import Batch, eager, functional, parameters
from raydl.core.task import Task, TaskSpec
from raydl.runtimes.worker.evaluation import score_outputs
from raydl.tasks import (
    Classification,
    MultiLabel,
    NextToken,
    Reconstruction,
    Regression,
    Segmentation,
)
from raydl.tasks.usual import usual_task

N, C, T = 90, 4, 7
DRAWS = torch.Generator().manual_seed(3)
LOGITS = 2 * torch.randn(N, C, generator=DRAWS)
CLASSES = torch.randint(C, (N,), generator=DRAWS)
TOKENS = torch.randint(C, (N, T), generator=DRAWS)
TOKEN_LOGITS = torch.randn(N, T, C, generator=DRAWS)
PADDED = TOKENS.masked_fill(torch.arange(T) >= torch.randint(T, (N, 1), generator=DRAWS), -100)
PIXELS = torch.randint(C, (N, 3, 5), generator=DRAWS)
PIXEL_LOGITS = torch.randn(N, C, 3, 5, generator=DRAWS)
LABELS = torch.randint(2, (N, C), generator=DRAWS).float()
NUMBERS = 5 + torch.randn(N, 3, generator=DRAWS)
GUESSES = NUMBERS + 0.5 * torch.randn(N, 3, generator=DRAWS)
WEIGHTS = (0.5, 1.0, 2.0, 3.0)
EVERY = ("top5", "f1", "auc", "calibration_error", "per_class")


def torch_classes(logits: Tensor, classes: Tensor, **options: object) -> float:
    return float(f.cross_entropy(logits, classes, **options))


CASES: dict[str, tuple[TaskSpec, Tensor, Tensor, float]] = {
    "plain": (Classification(), LOGITS, CLASSES, torch_classes(LOGITS, CLASSES)),
    "smoothed": (
        Classification(label_smoothing=0.2),
        LOGITS,
        CLASSES,
        torch_classes(LOGITS, CLASSES, label_smoothing=0.2),
    ),
    "weighted": (
        Classification(class_weights=WEIGHTS),
        LOGITS,
        CLASSES,
        torch_classes(LOGITS, CLASSES, weight=torch.tensor(WEIGHTS)),
    ),
    "weighted, smoothed, one left out": (
        Classification(class_weights=WEIGHTS, label_smoothing=0.1, ignore_index=2),
        LOGITS,
        CLASSES,
        torch_classes(
            LOGITS,
            CLASSES,
            weight=torch.tensor(WEIGHTS),
            label_smoothing=0.1,
            ignore_index=2,
        ),
    ),
    "every metric": (
        Classification(metrics=EVERY),
        LOGITS,
        CLASSES,
        torch_classes(LOGITS, CLASSES),
    ),
    "tokens": (
        NextToken(),
        TOKEN_LOGITS,
        TOKENS,
        torch_classes(TOKEN_LOGITS.flatten(0, 1), TOKENS.flatten()),
    ),
    "padded tokens": (
        NextToken(),
        TOKEN_LOGITS,
        PADDED,
        torch_classes(TOKEN_LOGITS.flatten(0, 1), PADDED.flatten()),
    ),
    "pixels": (Segmentation(), PIXEL_LOGITS, PIXELS, torch_classes(PIXEL_LOGITS, PIXELS)),
    "weighted pixels, one left out": (
        Segmentation(class_weights=WEIGHTS, ignore_index=0),
        PIXEL_LOGITS,
        PIXELS,
        torch_classes(PIXEL_LOGITS, PIXELS, weight=torch.tensor(WEIGHTS), ignore_index=0),
    ),
    "labels": (
        MultiLabel(metrics=("auc", "calibration_error", "per_label")),
        LOGITS,
        LABELS,
        float(f.binary_cross_entropy_with_logits(LOGITS, LABELS)),
    ),
    "weighted labels": (
        MultiLabel(positive_weights=WEIGHTS),
        LOGITS,
        LABELS,
        float(f.binary_cross_entropy_with_logits(LOGITS, LABELS, pos_weight=torch.tensor(WEIGHTS))),
    ),
    "squared": (Regression(), GUESSES, NUMBERS, float(f.mse_loss(GUESSES, NUMBERS))),
    "absolute": (Regression("absolute"), GUESSES, NUMBERS, float(f.l1_loss(GUESSES, NUMBERS))),
    "huber": (
        Regression("huber", delta=0.3),
        GUESSES,
        NUMBERS,
        float(f.huber_loss(GUESSES, NUMBERS, delta=0.3)),
    ),
    "one number": (
        Regression(),
        GUESSES[:, :1],
        NUMBERS[:, 0],
        float(f.mse_loss(GUESSES[:, 0], NUMBERS[:, 0])),
    ),
    "input": (Reconstruction(), GUESSES, NUMBERS, float(f.mse_loss(GUESSES, NUMBERS))),
}


def metrics(spec: TaskSpec, outputs: Tensor, targets: Tensor, cuts: list[int]) -> dict[str, float]:
    bounds = [0, *sorted(cuts), len(targets)]
    scores = [score_outputs(spec, outputs[a:b], targets[a:b]) for a, b in pairwise(bounds) if a < b]
    return reduce(add, scores).metrics(spec)


@pytest.mark.parametrize("case", CASES)
def test_the_loss_is_torchs(case):
    spec, outputs, targets, expected = CASES[case]
    assert metrics(spec, outputs, targets, [])["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("case", CASES)
@settings(max_examples=10)
@given(cuts=st.lists(st.integers(1, N - 1), max_size=6))
def test_metrics_are_sums_that_merge(case, cuts):
    spec, outputs, targets, _ = CASES[case]
    whole = metrics(spec, outputs, targets, [])
    assert metrics(spec, outputs, targets, cuts) == pytest.approx(whole, rel=1e-6)


def of_case(case: str) -> SimpleNamespace:
    spec, outputs, targets, _ = CASES[case]
    return SimpleNamespace(**metrics(spec, outputs, targets, [17, 60]))


def test_metrics_of_classes_are_torchmetrics():
    given, many = of_case("every metric"), {"task": "multiclass", "num_classes": C}
    probabilities = LOGITS.softmax(1)
    each = tm.accuracy(LOGITS, CLASSES, average="none", **many)
    assert given.accuracy == pytest.approx(
        float(tm.accuracy(LOGITS, CLASSES, average="micro", **many))
    )
    assert given.f1 == pytest.approx(float(tm.f1_score(LOGITS, CLASSES, average="macro", **many)))
    assert given.auc == pytest.approx(
        float(tm.auroc(probabilities, CLASSES, thresholds=200, **many)), abs=1e-6
    )
    assert given.calibration_error == pytest.approx(
        float(tm.calibration_error(probabilities, CLASSES, **many)), abs=1e-6
    )
    told = [getattr(given, f"accuracy_of_{number}") for number in range(C)]
    assert told == pytest.approx(each.tolist())
    assert given.top5 == 1  # of four classes


def test_metrics_of_many_classes_are_scikit_learns():
    logits = torch.randn(300, 12, generator=DRAWS)
    classes = torch.randint(11, (300,), generator=DRAWS)  # the last one is never due
    given = metrics(Classification(metrics=("top5", "f1")), logits, classes, [100])
    assert given["top5"] == pytest.approx(
        sk.top_k_accuracy_score(classes, logits, k=5, labels=range(12))
    )
    predicted = logits.argmax(1)
    assert given["f1"] == pytest.approx(sk.f1_score(classes, predicted, average="macro"))


def test_metrics_of_labels_are_scikit_learns_and_torchmetrics():
    given, predicted = of_case("labels"), (LOGITS > 0).int()
    assert given.f1 == pytest.approx(sk.f1_score(LABELS, predicted, average="macro"))
    assert given.accuracy == pytest.approx(1 - sk.hamming_loss(LABELS, predicted))
    assert given.exact == pytest.approx(sk.accuracy_score(LABELS, predicted))
    assert given.f1_of_2 == pytest.approx(sk.f1_score(LABELS[:, 2], predicted[:, 2]))
    many = {"task": "multilabel", "num_labels": C, "thresholds": 200}
    assert given.auc == pytest.approx(
        float(tm.auroc(LOGITS.sigmoid(), LABELS.int(), **many)), abs=1e-6
    )


def test_metrics_of_numbers_are_scikit_learns():
    given = of_case("squared")
    assert given.mae == pytest.approx(sk.mean_absolute_error(NUMBERS, GUESSES))
    assert given.rmse == pytest.approx(sk.mean_squared_error(NUMBERS, GUESSES) ** 0.5)
    assert given.r2 == pytest.approx(sk.r2_score(NUMBERS, GUESSES), rel=1e-5)


def test_metrics_of_tokens_leave_the_padding_out():
    given, due = of_case("padded tokens"), PADDED != -100
    expected = perplexity(TOKEN_LOGITS, PADDED, ignore_index=-100)
    assert given.perplexity == pytest.approx(float(expected), rel=1e-5)
    assert 2**given.bits_per_token == pytest.approx(given.perplexity)
    hits = (TOKEN_LOGITS.argmax(-1) == PADDED)[due].float().mean()
    assert given.accuracy == pytest.approx(float(hits))


def test_metrics_of_pixels_are_scikit_learns():
    given, predicted = of_case("pixels"), PIXEL_LOGITS.argmax(1).flatten()
    assert given.iou == pytest.approx(
        sk.jaccard_score(PIXELS.flatten(), predicted, average="macro")
    )


class Linear(nn.Module):
    """Outputs of some shape, linear in the inputs."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape, self.inner = shape, nn.Linear(5, torch.Size(shape).numel())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.inner(inputs).unflatten(-1, self.shape)


@pytest.mark.parametrize("gradient", [eager, functional])
@pytest.mark.parametrize("microbatch", [None, 8])
@pytest.mark.parametrize("case", [each for each in CASES if each != "input"])
def test_the_gradient_is_that_of_the_mean_whatever_the_pieces(case, microbatch, gradient):
    """Of a padded minibatch as well: what pads it counts nowhere."""
    spec, outputs, targets, _ = CASES[case]
    torch.manual_seed(0)
    model, inputs = Linear(tuple(outputs.shape[1:])), torch.randn(N, 5)
    expected = eager(Task(model, spec))(parameters(model), Batch(inputs[:30], targets[:30]))
    weights = (torch.arange(37) < 30).float()
    for batch in (
        Batch(inputs[:30], targets[:30]),
        Batch(inputs[:37], targets[:37], weights),
    ):
        task = Task(model, spec, microbatch=microbatch)
        given = gradient(task)(parameters(model), batch)
        torch.testing.assert_close(given.grads, expected.grads, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(given.metrics, expected.metrics, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_many_clients_at_once_are_each_alone(case):
    spec, outputs, targets, _ = CASES[case]

    def each(outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"loss": spec.losses(outputs, targets)} | spec.scores(outputs, targets)

    together = torch.vmap(each)(outputs.unflatten(0, (3, -1)), targets.unflatten(0, (3, -1)))
    alone = each(outputs, targets)
    torch.testing.assert_close({name: v.flatten() for name, v in together.items()}, alone)


@pytest.mark.parametrize(
    ("targets", "usual"),
    [
        (CLASSES, Classification),
        (TOKENS, NextToken),
        (PIXELS, Segmentation),
        (LABELS, MultiLabel),
        (NUMBERS, Regression),
        (NUMBERS[:, 0], Regression),
    ],
)
def test_what_is_usual_follows_from_the_targets(targets, usual):
    assert type(usual_task(TOKENS, targets)) is usual


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: Classification(label_smoothing=1.0), r"label_smoothing is 1.0; .* \[0, 1\)"),
        (lambda: Classification(class_weights=(1.0, 0.0)), "class_weights .* above 0"),
        (lambda: Classification(metrics=("f2",)), "task.metrics is .*f2"),
        (lambda: Regression("mean"), "task.loss is 'mean'"),
        (lambda: Regression(delta=0.0), "task.delta is 0.0"),
        (lambda: Classification().check("targets", LOGITS, NUMBERS, None), "--task Regression"),
        (lambda: Classification().check("targets", LOGITS, CLASSES, 3), r"is 3; .* in \[0, 3\)"),
        (lambda: Classification(class_weights=WEIGHTS).check("t", LOGITS, CLASSES, 5), "5 classes"),
        (lambda: NextToken().check("targets", TOKENS, CLASSES, C), "the next tokens"),
        (lambda: Segmentation().check("targets", LOGITS, CLASSES, C), r"\[n, H, W\]"),
        (lambda: MultiLabel().check("targets", LOGITS, NUMBERS, None), "must be bool"),
        (lambda: Regression().check("targets", LOGITS, NUMBERS / 0, None), "first at sample 0"),
        (lambda: Regression().check("t", LOGITS, NUMBERS[:, 0] / 0, None), "first at sample 0"),
    ],
)
def test_what_cannot_be_learned_is_told(make, told):
    with pytest.raises(SpecError, match=told):
        make()
