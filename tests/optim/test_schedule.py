from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler
from torch.testing import assert_close

from raydl.core.errors import SpecError
from raydl.optim import Constant, Cosine, Polynomial, Step

TOTAL, WARM = 40, 10
LEFT = TOTAL - WARM


def reference(make, warm=WARM):
    """The factors of a run under torch's scheduler, after torch's linear warm-up."""
    optimizer = torch.optim.SGD([torch.ones(1)], lr=1.0)
    schedule = make(optimizer)
    if warm:
        rise = lr_scheduler.LinearLR(optimizer, 1 / (warm + 1), total_iters=warm)
        schedule = lr_scheduler.SequentialLR(optimizer, [rise, schedule], milestones=[warm])
    factors = []
    for _ in range(TOTAL):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return factors


def constant(optimizer):
    return lr_scheduler.ConstantLR(optimizer, factor=1.0)


CASES = {
    "constant": (Constant(0.25), constant, WARM),
    "cosine": (Cosine(), lambda o: lr_scheduler.CosineAnnealingLR(o, TOTAL), 0),
    "cosine, warmed up": (
        Cosine(0.25, final=0.1),
        lambda o: lr_scheduler.CosineAnnealingLR(o, LEFT, eta_min=0.1),
        WARM,
    ),
    "line": (Polynomial(), lambda o: lr_scheduler.PolynomialLR(o, TOTAL), 0),
    "polynomial, warmed up": (
        Polynomial(0.25, power=2.0),
        lambda o: lr_scheduler.PolynomialLR(o, LEFT, power=2.0),
        WARM,
    ),
    "step": (
        Step(milestones=(0.3, 0.7), gamma=0.2),
        lambda o: lr_scheduler.MultiStepLR(o, [12, 28], gamma=0.2),
        0,
    ),
    "step, warmed up": (
        Step(0.25, milestones=(0.5, 0.75)),
        lambda o: lr_scheduler.MultiStepLR(o, [20 - WARM, 30 - WARM]),
        WARM,
    ),
}


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


def test_a_whole_run_is_torchs(case):
    spec, make, warm = case
    factor = spec.build(TOTAL)
    assert [factor(step) for step in range(TOTAL)] == pytest.approx(reference(make, warm))


def test_tensors_get_the_factors_of_numbers(case):
    factor = case[0].build(TOTAL)
    numbers = torch.tensor([float(factor(step)) for step in range(TOTAL)])
    for steps in (torch.arange(TOTAL), torch.arange(TOTAL, dtype=torch.float32)):
        assert_close(factor(steps), numbers)
        assert_close(torch.vmap(factor)(steps), numbers)


WARMUPS = st.floats(0, 1, exclude_max=True)
FACTORS = st.floats(0, 1)
DECAYS = st.one_of(
    st.builds(Constant, WARMUPS),
    st.builds(Cosine, WARMUPS, FACTORS),
    st.builds(Polynomial, WARMUPS, st.floats(0.5, 4)),
)
STEPS = st.builds(
    lambda warmup, milestones, gamma: Step(warmup, tuple(sorted(milestones)), gamma),
    WARMUPS,
    st.sets(st.floats(0.01, 0.99), max_size=3),
    st.floats(0.1, 1),
)
LENGTHS = st.integers(1, 60)


@given(DECAYS, LENGTHS)
def test_the_rate_rises_to_its_full_height_and_then_falls(spec, total):
    factor, warm = spec.build(total), min(round(spec.warmup * total), total - 1)
    assert [factor(step) for step in range(warm)] == pytest.approx(
        [(step + 1) / (warm + 1) for step in range(warm)]
    )
    assert factor(warm) == 1  # and no step is wasted at more or less than that
    falling = [factor(step) for step in range(warm, total + 1)]
    assert all(later <= now for now, later in pairwise(falling))
    ends = {Constant: 1.0, Polynomial: 0.0, Cosine: getattr(spec, "final", None)}
    assert factor(total) == pytest.approx(ends[type(spec)], abs=1e-12)


@given(DECAYS | STEPS, LENGTHS)
def test_every_step_of_a_run_trains_and_none_at_more_than_the_full_rate(spec, total):
    factor = spec.build(total)
    assert all(0 < factor(step) <= 1 for step in range(total))
    assert factor(total) == factor(total + 100) <= factor(total - 1)


@given(STEPS, LENGTHS)
def test_each_milestone_takes_its_factor_once(spec, total):
    factor, risen = spec.build(total), Constant(spec.warmup).build(total)
    for step in range(total):
        passed = sum(step >= round(each * total) for each in spec.milestones)
        assert factor(step) == pytest.approx(risen(step) * spec.gamma**passed)


def test_a_milestone_is_the_nearest_step():
    factor = Step(milestones=(0.29,), gamma=0.5).build(100)  # 0.29 * 100 is less than 29
    assert [factor(28), factor(29)] == [1.0, 0.5]


@pytest.mark.parametrize("spec", [Constant, Cosine, Polynomial, Step])
@pytest.mark.parametrize("warmup", [-0.1, 1.0, 500.0])
def test_a_warmup_as_long_as_the_run_is_refused(spec, warmup):
    with pytest.raises(SpecError, match=rf"schedule.warmup is {warmup}; .* shorter than the run"):
        spec(warmup=warmup)


@pytest.mark.parametrize(
    ("spec", "given", "message"),
    [
        (Cosine, {"final": 1.5}, "schedule.final is 1.5"),
        (Polynomial, {"power": 0}, "schedule.power is 0"),
        (Step, {"milestones": (0.7, 0.3)}, "rising"),
        (Step, {"milestones": (30, 60)}, "parts of the run"),
        (Step, {"gamma": 0.0}, "schedule.gamma is 0.0"),
    ],
)
def test_values_out_of_range(spec, given, message):
    with pytest.raises(SpecError, match=message):
        spec(**given)


def test_a_run_of_no_steps():
    with pytest.raises(SpecError, match="1 or larger"):
        Cosine().build(0)
