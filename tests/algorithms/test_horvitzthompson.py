"""Horvitz–Thompson weights: no bias, counted out over all cohorts of a tiny federation."""

from itertools import chain, combinations, permutations, product

import numpy as np
import pytest
import torch

from raydl.algorithms import FedAvg, HorvitzThompson
from raydl.core.algorithm import Scope, Update
from raydl.core.errors import SpecError
from raydl.data import Uniform
from raydl.data.participations.skewed import poisson_probabilities, replacement_inclusion
from raydl.runtimes.local.runtime import LocalRuntime
from tests.data.test_inclusion import successive
from tests.federation import federation, final, relative_distance, train

SIZES = torch.tensor([3, 10, 1, 6, 5])
DELTAS = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.09, 0.01])
EVERYONE = (SIZES / SIZES.sum() @ DELTAS.float()).double()


def reduced(inclusion, cohort, **options):
    scope = Scope(sizes=SIZES, inclusion=lambda: torch.from_numpy(inclusion))
    reduce = HorvitzThompson(**options).build(scope).reduce
    accumulator = reduce.zero()
    for client in cohort:
        message = {"delta": {"w": DELTAS[client]}, "buffers": {"b": DELTAS[client]}}
        accumulator = reduce.add(accumulator, Update(message, int(SIZES[client]), int(client)))
    return reduce.result(accumulator)


def uniform():
    yield from ((cohort, 1 / 10) for cohort in combinations(range(5), 2))


def one_after_another():
    for order in permutations(range(5), 2):
        first, second = WEIGHTS[list(order)]
        yield order, first * second / (1 - first)


def with_replacement():
    for drawn in product(range(5), repeat=3):
        yield tuple(set(drawn)), WEIGHTS[list(drawn)].prod()


def by_themselves():
    each = poisson_probabilities(WEIGHTS, 2)
    nobody = np.prod(1 - each)
    for cohort in chain.from_iterable(combinations(range(5), size) for size in range(1, 6)):
        there = np.isin(np.arange(5), cohort)
        yield cohort, np.where(there, each, 1 - each).prod() / (1 - nobody)


SCHEMES = {
    "uniform": (uniform, Uniform(0.4).inclusion(5, 0)),
    "successive": (one_after_another, successive(WEIGHTS, 2)),
    "replacement": (with_replacement, replacement_inclusion(WEIGHTS, 3)),
    "poisson": (
        by_themselves,
        (each := poisson_probabilities(WEIGHTS, 2)) / (1 - np.prod(1 - each)),
    ),
}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_mean_step_over_all_cohorts_is_everybodys(scheme):
    cohorts, inclusion = SCHEMES[scheme]
    total, mean = 0.0, torch.zeros(4, dtype=torch.float64)
    for cohort, probability in cohorts():
        total += probability
        mean += probability * reduced(inclusion, cohort)["delta"]["w"]
    assert total == pytest.approx(1)
    torch.testing.assert_close(mean, EVERYONE, rtol=1e-6, atol=1e-7)


def test_normalized_the_weights_add_up_to_one_and_those_of_buffers_always_do():
    inclusion, cohort = np.array([0.9, 0.5, 0.1, 0.3, 0.2]), [0, 2, 3]
    weights = (SIZES / SIZES.sum()).double()[cohort] / torch.from_numpy(inclusion)[cohort]
    expected = weights @ DELTAS[cohort]
    plain, normalized = reduced(inclusion, cohort), reduced(inclusion, cohort, normalized=True)
    torch.testing.assert_close(plain["delta"]["w"], expected, rtol=1e-6, atol=1e-7)
    for given in (plain["buffers"]["b"], normalized["buffers"]["b"], normalized["delta"]["w"]):
        torch.testing.assert_close(given, expected / weights.sum(), rtol=1e-6, atol=1e-7)


def test_where_everybody_takes_part_it_is_fedavg():
    expected = federation(FedAvg(steps=2).build())
    sizes = torch.from_numpy(expected.partition.sizes)
    scope = Scope(sizes=sizes, inclusion=lambda: torch.ones(len(sizes)))
    given = federation(HorvitzThompson(steps=2).build(scope))
    ends = (
        final(each, train(each, LocalRuntime(each), 3, fraction=1.0)) for each in (given, expected)
    )
    assert relative_distance(expected, *ends) < 1e-5


@pytest.mark.parametrize(
    ("scope", "told"),
    [
        (Scope(), "which is not known here"),
        (Scope(sizes=SIZES), "which is not known here"),
        (Scope(sizes=SIZES, inclusion=lambda: torch.eye(5)[0]), "client 1 never does"),
    ],
)
def test_it_must_be_known_who_takes_part_how_often(scope, told):
    with pytest.raises(SpecError, match=told):
        HorvitzThompson().build(scope)
