"""Sums over predictions that metrics of classes are made of, and the metrics of the sums.

Each function of predictions gives float64 sums, which add up over any cut of them; each of sums
gives the metric. Areas under curves are of probabilities cut at `THRESHOLDS` places, and the
calibration error is of `BINS` bins, as torchmetrics has them.
"""

import torch
from torch import Tensor

THRESHOLDS = 200
BINS = 15
ERRORS = 10.0 ** (torch.arange(-120, 121, dtype=torch.float64) / 20)  # 1e-6 to 1e6, 20 a decade


def confusion(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    """How often each class was predicted for each: float64 [classes, classes], rows are targets.

    Args:
        predicted: classes, int64 [P].
        targets: classes, int64 [P].
        classes: how many there are.
    """
    cells = torch.bincount(targets * classes + predicted, minlength=classes * classes)
    return cells.view(classes, classes).double()


def agreement(predicted: Tensor, targets: Tensor, classes: int) -> Tensor:
    """How often each class was predicted rightly, predicted, and due: float64 [3, classes]."""
    right = predicted[predicted == targets]
    return torch.stack(
        [torch.bincount(each, minlength=classes) for each in (right, predicted, targets)]
    ).double()


def f1(agreement: Tensor) -> float:
    """The mean over classes of F1 = 2 right / (predicted + due), without those never met."""
    right, predicted, due = agreement
    met = predicted + due > 0
    return float((2 * right[met] / (predicted + due)[met]).mean())


def calibration(confidence: Tensor, right: Tensor) -> Tensor:
    """Predictions, those that were right, and their confidence, by bin: float64 [3, bins + 1].

    Args:
        confidence: probability of what was predicted, [P].
        right: whether it was right, [P].
    """
    bounds = torch.linspace(0, 1, BINS + 1, device=confidence.device)
    bins = torch.bucketize(confidence, bounds, right=True) - 1  # a whole 1 is in one of its own
    values = torch.stack([torch.ones_like(confidence), right, confidence]).double()
    return torch.zeros(3, BINS + 1, dtype=torch.float64).index_add_(1, bins.cpu(), values.cpu())


def calibration_error(sums: Tensor) -> float:
    """The expected calibration error: Σ |right − confidence| / predictions.

    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On Calibration of Modern Neural Networks", ICML 2017.
    """
    count, right, confidence = sums
    return float((right - confidence).abs().sum() / count.sum())


def above(probabilities: Tensor, positive: Tensor) -> Tensor:
    """Of positives and of negatives how many reach each threshold: float64 [2, labels, thresholds].

    Args:
        probabilities: of each label, [P, labels].
        positive: whether the label is due, bool [P, labels].
    """
    places = torch.linspace(0, 1, THRESHOLDS, device=probabilities.device)
    labels = probabilities.shape[1]
    reached = torch.bucketize(probabilities, places, right=True) - 1  # the last one reached
    flat = reached + THRESHOLDS * torch.arange(labels, device=reached.device)
    sums = []
    for mask in (positive, ~positive):
        counts = torch.bincount(flat[mask], minlength=labels * THRESHOLDS)
        counts = counts.view(labels, THRESHOLDS)
        sums.append(counts.flip(1).cumsum(1).flip(1))
    return torch.stack(sums).double()


def within(errors: Tensor) -> Tensor:
    """How many absolute errors, [P, ...], are up to each of `ERRORS`, and in all: float64 [E + 1].

    A NaN is within nothing.
    """
    places = torch.bucketize(errors.abs().flatten().double().cpu(), ERRORS)
    return torch.bincount(places, minlength=len(ERRORS) + 1).cumsum(0).double()


def area_under_curve(above: Tensor) -> float:
    """The area under the receiver operating characteristic, mean over labels that have both kinds.

    By trapezoids between the thresholds.
    """
    true, false = above
    total = torch.stack([true[:, 0], false[:, 0]])
    both = (total > 0).all(0)
    if not both.any():
        return float("nan")
    ends = torch.zeros(int(both.sum()), 1, dtype=torch.float64)
    rates = [
        torch.cat([ends, (each[both] / count[both, None]).flip(1)], 1)
        for each, count in zip((true, false), total, strict=True)
    ]
    return float(torch.trapezoid(*rates).mean())
