"""Selectors: their laws, without a run."""

from itertools import islice

import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.core.rng import fold_in
from raydl.core.tree import fingerprint
from raydl.data import LossProportional, Moment, Oort, PowerOfChoice, SelectorSpec, Uniform
from raydl.data.participations.selector import counted, first_cohort, share_reached, stream

SIZES = np.arange(5, 45, 2)  # of 20 clients
STATEFUL = [
    PowerOfChoice(0.2, 8, "rpow-d"),
    Oort(0.2),
    Oort(0.2, spread=1.0),
    LossProportional(0.2),
]


def columns(cohort, losses, **more):
    every = {
        "client": torch.tensor(cohort, dtype=torch.float64),
        "steps": torch.full((len(cohort),), 3.0, dtype=torch.float64),
        "finite": torch.ones(len(cohort), dtype=torch.float64),
        "loss": torch.tensor(losses[cohort], dtype=torch.float64),
    }
    return every | more


def course(spec: SelectorSpec, losses, rounds=30, state=None, start=0):
    """The cohorts that are chosen, and the states after each, if clients always lose as much."""
    selector = spec.selector(SIZES, seed=3)
    state = selector.init() if state is None else state
    cohorts, states = [], []
    for number in range(start, rounds):
        moment = Moment(number)
        if selector.poll is not None:
            asked = np.array(selector.poll(state, moment).clients)
            moment = moment._replace(answers=columns(asked, losses))
        cohorts.append(selector.choose(state, moment))
        state = selector.told(state, moment, columns(cohorts[-1], losses))
        states.append(state)
    return cohorts, states


@pytest.fixture
def losses():
    return np.random.default_rng(0).random(len(SIZES)) * 3


@pytest.mark.parametrize("spec", [*STATEFUL, PowerOfChoice(0.2, 8)], ids=str)
def test_same_seed_and_losses_same_cohorts_also_from_the_middle(spec, losses):
    cohorts, states = course(spec, losses)
    assert all(len(np.unique(each)) == len(each) == 4 for each in cohorts)
    assert all(map(np.array_equal, cohorts, course(spec, losses)[0]))
    rest, ends = course(spec, losses, state=states[9], start=10)
    assert all(map(np.array_equal, cohorts[10:], rest))
    assert fingerprint(ends[-1]) == fingerprint(states[-1])


@pytest.mark.parametrize("variant", ["pow-d", "cpow-d", "rpow-d"])
def test_power_of_choice_with_as_many_candidates_as_take_part_draws_by_samples(variant, losses):
    cohorts, _ = course(PowerOfChoice(0.2, 4, variant), losses)
    shares = SIZES / SIZES.sum()
    for number, cohort in enumerate(cohorts):
        rng = np.random.default_rng(fold_in(3, number, "participation"))
        assert set(cohort) == set(rng.choice(len(SIZES), 4, replace=False, p=shares))


def test_power_of_choice_with_everybody_a_candidate_is_greedy(losses):
    greedy, _ = course(PowerOfChoice(0.2, len(SIZES)), losses)
    assert all(set(each) == set(np.argsort(-losses)[:4]) for each in greedy)
    remembered, _ = course(PowerOfChoice(0.2, len(SIZES), "rpow-d"), losses)
    assert len(np.unique(remembered[:5])) == len(SIZES)  # who never took part comes first
    assert set(remembered[5]) == set(np.argsort(-losses)[:4])


@pytest.mark.parametrize("spec", [LossProportional(exponent=0.0), LossProportional()], ids=str)
def test_equal_losses_are_drawn_alike(spec):
    for known in (np.full(9, np.inf), np.zeros(9), np.full(9, 2.5)):
        assert np.allclose(spec.probabilities(known), 1 / 9)


def test_losses_are_drawn_in_proportion_and_the_unknown_as_the_largest():
    drawn_by = LossProportional(explore=0.5).probabilities(np.array([1.0, 3.0, np.inf, 0.0]))
    assert np.allclose(drawn_by, 0.125 + 0.5 * np.array([1, 3, 3, 0]) / 7)


def frequencies(spec, rounds=500):
    """How often each of equal clients with equal losses is in the first or in the third cohort."""
    sizes, counts = np.full(10, 7), np.zeros((2, 10))
    for seed in range(rounds):
        selector = spec.selector(sizes, seed)
        state = selector.init()
        for number, counted_ in ((0, counts[0]), (1, None), (2, counts[1])):
            cohort = selector.choose(state, Moment(number))
            if counted_ is not None:
                counted_[cohort] += 1
            state = selector.told(state, Moment(number), columns(cohort, np.ones(10)))
    return counts / rounds


@pytest.mark.parametrize(
    "spec", [Oort(0.3, explore=1.0, decay=1.0), Oort(0.3), LossProportional(0.3)], ids=str
)
def test_of_equal_clients_all_are_equally_likely(spec):
    error = (0.3 * 0.7 / 500) ** 0.5
    assert (np.abs(frequencies(spec) - 0.3) < 5 * error).all()


def test_oort_explores_less_and_less_and_prefers_the_useful(losses):
    spec = Oort(0.2, explore=1.0, decay=0.5, least=0.0, cutoff=1.0, penalty=0.0)
    cohorts, states = course(spec, losses, rounds=40)
    assert len(np.unique(cohorts[:2])) == 6  # 4 unseen, then 2 of them
    utility = states[-1]["utility"].numpy()
    assert np.allclose(utility[utility > 0], (SIZES * losses)[utility > 0])


def test_oort_holds_slowness_against_clients():
    spec, sizes = Oort(0.2, penalty=2.0), np.full(10, 5)
    selector = spec.selector(sizes, 0)
    state, everyone = selector.init(), np.arange(10)
    seconds = torch.arange(1.0, 11.0, dtype=torch.float64)
    state = selector.told(state, Moment(0), columns(everyone, np.ones(10), seconds=seconds))
    preferred = np.quantile(seconds, 0.1)
    worth = spec.worth(state, 0)
    expected = np.minimum(1.0, preferred / seconds.numpy()) ** 2
    assert np.allclose(worth, expected)


@pytest.mark.parametrize("spec", STATEFUL, ids=str)
def test_who_broke_or_is_not_heard_of_changes_nothing(spec, losses):
    selector = spec.selector(SIZES, 0)
    state = selector.init()
    told = columns(np.array([1, 2]), losses)
    told |= {"finite": torch.tensor([0.0, 0.0]), "loss": torch.tensor([torch.nan, torch.inf])}
    nobody = {"client": torch.empty(0), "steps": torch.empty(0), "finite": torch.empty(0)}
    for each in (told, nobody):
        after = selector.told(state, Moment(0), each)
        for name in state.keys() - {"seconds"}:
            assert torch.equal(after[name], state[name])
        assert len(selector.choose(after, Moment(1))) == 4


@pytest.mark.parametrize("spec", STATEFUL, ids=str)
def test_what_reports_no_loss_is_told(spec, losses):
    selector = spec.selector(SIZES, 0)
    told = {name: each for name, each in columns(np.arange(4), losses).items() if name != "loss"}
    with pytest.raises(SpecError, match="which the algorithm's clients do not report"):
        selector.told(selector.init(), Moment(0), told)


@pytest.mark.parametrize(("candidates", "told"), [(3, "4 or larger"), (21, "at most 20")])
def test_candidates_must_suffice_and_be_there(candidates, told):
    with pytest.raises(SpecError, match=rf"participation.candidates is {candidates}.*{told}"):
        PowerOfChoice(0.2, candidates).selector(SIZES, 0)


@pytest.mark.parametrize(
    ("spec", "given"),
    [
        (PowerOfChoice, {"candidates": 0}),
        (PowerOfChoice, {"batch_size": 0}),
        (PowerOfChoice, {"fraction": 0.0}),
        (PowerOfChoice, {"variant": "pow"}),
        (Oort, {"explore": 1.5}),
        (Oort, {"cutoff": 0.0}),
        (Oort, {"penalty": -1.0}),
        (Oort, {"pacer": 0}),
        (LossProportional, {"exponent": -1.0}),
        (LossProportional, {"explore": 0.0}),
    ],
)
def test_values_out_of_range(spec, given):
    with pytest.raises(SpecError, match=f"participation.{next(iter(given))}"):
        spec(**given)


def test_a_stream_is_a_selector_that_skips_what_is_done():
    expected = list(islice(Uniform(0.2).cohorts(20, 5), 12))
    selector = stream(Uniform(0.2).cohorts(20, 5))
    for number in range(7, 12):
        assert np.array_equal(selector.choose({}, Moment(number)), expected[number])
    assert stream([]).choose({}, Moment(0)) is None


def test_who_took_part_is_counted(losses):
    selector = counted(PowerOfChoice(0.2, 4).selector(SIZES, 3), len(SIZES))
    state = selector.init()
    assert share_reached(state) == 0.0
    cohort = first_cohort(selector)
    after = selector.told(state, Moment(0), columns(cohort, losses))
    assert share_reached(after) == 4 / 20
    assert share_reached(state) == 0.0  # which is not written to
    assert share_reached({}) is None
