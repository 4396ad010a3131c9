from math import nan

import pytest

from raydl.algorithms.distributed.intervals import (
    QSR,
    AdaComm,
    Fixed,
    Growing,
    PostLocal,
    TrainingProgress,
)
from raydl.core.errors import SpecError


def at(step, rate=0.1, first_loss=nan, loss=nan, total=100):
    return TrainingProgress(step, total, 0.4, rate, first_loss, loss)


@pytest.mark.parametrize(
    ("spec", "steps", "progress", "expected"),
    [
        (Fixed(), 8, at(3), 8),
        (PostLocal(0.5), 8, at(49), 1),
        (PostLocal(0.5), 8, at(50), 8),
        (PostLocal(0.0), 8, at(0), 8),
        (Growing((0.25, 0.5), 2.0), 8, at(24), 8),
        (Growing((0.25, 0.5), 2.0), 8, at(25), 16),
        (Growing((0.25, 0.5), 2.0), 8, at(50), 32),
        (Growing((0.25, 0.5), 0.1), 8, at(99), 1),
        (QSR(0.2), 4, at(10, rate=0.1), 4),  # (0.2 / 0.1)² = 4
        (QSR(0.2), 2, at(10, rate=0.05), 16),
        (QSR(0.2), 20, at(10, rate=0.05), 20),
        (QSR(0.2), 4, at(10, rate=0.0), 100),
        (AdaComm(), 10, at(0), 10),
        (AdaComm(), 10, at(10, rate=0.4, first_loss=4.0, loss=1.0), 5),  # √(1/4)
        (AdaComm(), 10, at(10, rate=0.1, first_loss=4.0, loss=1.0), 10),  # √(4 · 1/4)
        (AdaComm(), 10, at(10, rate=0.4, first_loss=4.0, loss=1e-9), 1),
    ],
)
def test_local_steps(spec, steps, progress, expected):
    assert spec.build(steps)(progress) == expected


@pytest.mark.parametrize(
    ("spec", "fields", "told"),
    [
        (PostLocal, {"start": 1.5}, r"interval\.start is 1\.5; it must be in \[0, 1\]"),
        (Growing, {"milestones": (0.5, 0.5)}, "increasing, each above 0 and below 1"),
        (Growing, {"milestones": (0.5, 1.0)}, "increasing, each above 0 and below 1"),
        (Growing, {"factor": 0.0}, r"interval\.factor is 0\.0"),
        (QSR, {"alpha": 0.0}, r"interval\.alpha is 0\.0"),
    ],
)
def test_bad_values(spec, fields, told):
    with pytest.raises(SpecError, match=told):
        spec(**fields)
