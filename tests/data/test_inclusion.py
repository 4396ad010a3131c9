"""How probable it is to take part: against all that can be drawn, counted out by hand."""

from itertools import islice, permutations, product

import numpy as np
import pytest

from raydl.data import Skewed, Uniform
from raydl.data.participations.skewed import (
    poisson_probabilities,
    replacement_inclusion,
    successive_inclusion,
)

WEIGHTS = np.array([0.5, 0.25, 0.15, 0.0999, 0.0001])


def successive(weights, size):
    """Every order in which so many are drawn, with its probability."""
    inclusion = np.zeros(len(weights))
    for order in permutations(range(len(weights)), size):
        probability, left = 1.0, weights.sum()
        for each in order:
            probability *= weights[each] / left
            left -= weights[each]
        inclusion[list(order)] += probability
    return inclusion


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_successive_sampling_is_estimated_closely_for_the_unlikely_too(size):
    given, expected = successive_inclusion(WEIGHTS, size, seed=0), successive(WEIGHTS, size)
    assert np.allclose(given, expected, rtol=0.03)
    assert np.array_equal(given, successive_inclusion(WEIGHTS, size, seed=0))


@pytest.mark.parametrize("size", [1, 2, 3])
def test_with_replacement_it_is_exact(size):
    expected = np.zeros(len(WEIGHTS))
    for drawn in product(range(len(WEIGHTS)), repeat=size):
        expected[list(set(drawn))] += WEIGHTS[list(drawn)].prod()
    assert np.allclose(replacement_inclusion(WEIGHTS, size), expected, rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 4, 5])
def test_poissons_probabilities_add_up_to_the_cohort(size):
    each = poisson_probabilities(WEIGHTS, size)
    assert each.sum() == pytest.approx(size)
    assert (each <= 1).all()
    uncapped = each < 1
    ratios = each[uncapped] / WEIGHTS[uncapped]
    assert np.allclose(ratios, ratios[:1])


@pytest.mark.parametrize(
    "spec",
    [
        Uniform(0.3),
        Skewed(0.3, 0.5),
        Skewed(0.1, 0.5, "poisson"),
        Skewed(0.3, 0.5, "poisson"),
        Skewed(0.3, 0.5, "replacement"),
    ],
    ids=str,
)
def test_cohorts_are_drawn_as_often_as_they_say(spec):
    clients, rounds = 10, 4000
    counts = np.zeros(clients)
    for cohort in islice(spec.cohorts(clients, 7), rounds):
        assert len(np.unique(cohort)) == len(cohort) > 0
        counts[cohort] += 1
    expected = spec.inclusion(clients, 7)
    error = np.sqrt(expected * (1 - expected) / rounds)
    assert (np.abs(counts / rounds - expected) <= 5 * error + 0.02 * expected).all()
