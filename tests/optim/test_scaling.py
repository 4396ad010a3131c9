from math import sqrt

import pytest

from raydl.core.errors import SpecError
from raydl.optim import scale_rate


@pytest.mark.parametrize(
    ("rule", "factor"), [("none", 1.0), ("linear", 32.0), ("sqrt", sqrt(32.0))]
)
def test_a_batch_32_times_as_large(rule, factor):
    assert scale_rate(0.1, 8192, 256, rule) == pytest.approx(0.1 * factor)
    assert scale_rate(0.1, 256, 8192, rule) == pytest.approx(0.1 / factor)
    assert scale_rate(0.1, 256, 256, rule) == 0.1


def test_bad_input():
    with pytest.raises(SpecError, match="did you mean 'linear'"):
        scale_rate(0.1, 64, 64, "liner")
    with pytest.raises(SpecError, match="batch is 0"):
        scale_rate(0.1, 0, 64, "none")
    with pytest.raises(SpecError, match="base_batch is 0"):
        scale_rate(0.1, 64, 0, "none")
