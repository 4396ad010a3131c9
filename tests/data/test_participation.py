from itertools import islice

import numpy as np
import pytest

from raydl.core.errors import SpecError
from raydl.data import Skewed, Uniform


@pytest.mark.parametrize(
    ("clients", "fraction", "size"), [(100, 0.1, 10), (100, 0.001, 1), (7, 0.5, 4), (3, 1.0, 3)]
)
def test_uniform_is_one_generators_choice_after_another(clients, fraction, size):
    rng = np.random.default_rng(10)
    for cohort in islice(Uniform(fraction).cohorts(clients, 10), 20):
        assert np.array_equal(cohort, rng.choice(clients, size, replace=False))
        assert cohort.dtype == np.int64


@pytest.mark.parametrize("spec", [Uniform(0.2), Skewed(0.2, 0.5), Skewed(0.2, 1e-4)], ids=str)
def test_cohorts_are_distinct_full_and_repeatable(spec):
    cohorts = list(islice(spec.cohorts(50, 3), 30))
    resumed = islice(spec.cohorts(50, 3), 20, 30)
    assert all(len(set(cohort.tolist())) == 10 for cohort in cohorts)
    assert all(map(np.array_equal, cohorts[20:], resumed))
    assert not np.array_equal(cohorts[0], next(spec.cohorts(50, 4)))


@pytest.mark.parametrize("spec", [Uniform(0.05), Skewed(0.05, 0.5)], ids=str)
def test_the_first_of_a_cohort_is_drawn_by_the_probabilities(spec):
    rounds = 20_000
    first = [cohort[0] for cohort in islice(spec.cohorts(40, 0), rounds)]
    frequencies = np.bincount(first, minlength=40) / rounds
    probabilities = spec.probabilities(40, 0)
    error = np.sqrt(probabilities * (1 - probabilities) / rounds)
    assert (np.abs(frequencies - probabilities) <= 5 * error + 1e-4).all()


@pytest.mark.parametrize("gamma", [5.0, 0.5, 0.05])
def test_skewed_probabilities_vary_as_the_distribution(gamma):
    clients = 100_000
    probabilities = Skewed(gamma=gamma).probabilities(clients, 0)
    variance = (1 / clients) * (1 - 1 / clients) / (gamma * clients + 1)
    assert abs(probabilities.sum() - 1) < 1e-9
    assert abs(probabilities.var() / variance - 1) < 0.1


def test_less_likely_clients_come_last_yet_fill_the_cohort():
    spec = Skewed(fraction=1.0, gamma=1e-3)
    probabilities = spec.probabilities(60, 0)
    vanished = probabilities == probabilities.min()
    assert vanished.sum() > 1
    cohort = next(spec.cohorts(60, 0))
    assert sorted(cohort) == list(range(60))
    assert vanished[cohort[-vanished.sum() :]].all()


@pytest.mark.parametrize("spec", [Uniform, Skewed])
@pytest.mark.parametrize("fraction", [0.0, -0.1, 1.1, float("nan")])
def test_a_fraction_outside_its_range_is_refused(spec, fraction):
    with pytest.raises(SpecError, match=r"participation\.fraction .* in \(0, 1\]"):
        spec(fraction)


def test_a_gamma_that_is_not_positive_is_refused():
    with pytest.raises(SpecError, match=r"participation\.gamma is 0"):
        Skewed(gamma=0)
