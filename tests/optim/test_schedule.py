import pytest
import torch
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


def test_after_its_end_the_factor_stays(case):
    factor = case[0].build(TOTAL)
    assert factor(TOTAL) == factor(TOTAL + 100)
    assert factor(TOTAL) <= factor(TOTAL - 1)


def test_even_a_run_of_one_step_trains(case):
    assert case[0].build(1)(0) > 0


def test_the_last_step_is_at_the_full_rate_however_long_the_warmup():
    factor = Constant(0.99).build(10)
    assert [factor(8), factor(9)] == [0.9, 1.0]


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
