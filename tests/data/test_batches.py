"""Plans, counted out: what they say of a client's minibatches is what `ClientData` gives."""

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from raydl.core.algorithm import Plan, Work
from raydl.data import Dataset, Partition, Split
from raydl.data.batches import ClientData

SAMPLES = st.integers(1, 40)
BATCHES = st.none() | st.integers(1, 50)
STEPS = st.builds(
    lambda batch, steps, first: Plan(batch, steps=steps, start_step=first),
    BATCHES,
    st.integers(1, 7),
    st.none() | st.integers(0, 30),
)
EPOCHS = st.builds(
    lambda batch, epochs, drop: Plan(batch, epochs, drop_last=drop),
    BATCHES,
    st.integers(1, 3),
    st.booleans(),
)
PLANS = st.one_of(EPOCHS, STEPS)


NUMBERS = Split(torch.arange(100.0)[:, None], torch.arange(100) % 2)
NUMBERED = Dataset("numbers", NUMBERS, NUMBERS, NUMBERS, classes=2)  # each sample is its own number


def clients(*sizes: int, seed: int = 0) -> ClientData:
    """The data of clients with so many samples each."""
    return ClientData(NUMBERED, Partition.cut(np.arange(100), np.array(sizes)), seed)


def minibatches(data: ClientData, plan: Plan, client: int = 0, number: int = 0) -> list[list[int]]:
    """The samples of each minibatch of a client in a round."""
    batches = data.batches(Work(number, (client,), plan), client)
    return [each.inputs.flatten().int().tolist() for each in batches]


@given(PLANS, SAMPLES)
def test_a_plan_counts_what_a_client_trains_on(plan, samples):
    taken = minibatches(clients(samples), plan)
    sizes = list(map(len, taken))
    assert plan.local_steps(samples) == len(taken)
    assert plan.trained_samples(samples) == sum(sizes)
    assert plan.sizes(samples) == set(sizes)
    assert plan.batch(samples) == max(sizes)


@given(EPOCHS, SAMPLES)
def test_a_pass_has_each_sample_once_in_an_order_of_its_own(plan, samples):
    taken = minibatches(clients(samples), plan)
    steps = len(taken) // plan.epochs
    for epoch in range(plan.epochs):
        passed = list(chain(*taken[epoch * steps : (epoch + 1) * steps]))
        assert len(passed) == len(set(passed)) == plan.pass_samples(samples)
        assert plan.drop_last or sorted(passed) == list(range(samples))


@given(st.integers(1, 12), SAMPLES, st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_steps_go_on_where_they_stopped_however_rounds_are_cut(batch, samples, rounds):
    """Pass after pass, each with every sample once."""
    data, taken, first = clients(samples), [], 0
    for number, steps in enumerate(rounds):
        taken += minibatches(data, Plan(batch, steps=steps, start_step=first), number=number)
        first += steps
    assert taken == minibatches(data, Plan(batch, steps=sum(rounds), start_step=0))
    seen = list(chain(*taken))
    for start in range(0, len(seen) - samples + 1, samples):
        assert sorted(seen[start : start + samples]) == list(range(samples))


@given(PLANS, st.lists(st.integers(1, 20), min_size=1, max_size=4))
def test_side_by_side_clients_have_the_minibatches_that_each_has_alone(plan, sizes):
    data, everyone = clients(*sizes), tuple(range(len(sizes)))
    taken = [[] for _ in sizes]
    for batch, active in data.stacked(Work(0, everyone, plan)):
        assert active.tolist() == [bool(weights.any()) for weights in batch.weights]
        for client, (inputs, weights) in enumerate(zip(batch.inputs, batch.weights, strict=True)):
            if active[client]:
                taken[client].append(inputs[weights == 1].flatten().int().tolist())
    assert taken == [minibatches(data, plan, client) for client in everyone]


@given(PLANS, SAMPLES, st.integers(0, 5))
def test_seed_and_round_decide(plan, samples, seed):
    one, same = (minibatches(clients(samples, seed=seed), plan) for _ in range(2))
    assert one == same


@pytest.mark.parametrize("plan", [Plan(4), Plan(4, steps=9)])
def test_another_seed_round_or_client_has_another_order(plan):
    data = clients(30, 30)
    drawn = [
        minibatches(data, plan),
        minibatches(clients(30, 30, seed=1), plan),
        minibatches(data, plan, number=1),
        [[sample - 30 for sample in batch] for batch in minibatches(data, plan, client=1)],
    ]
    assert len(set(map(str, drawn))) == 4
