import pytest
import torch

from raydl.core.algorithm import Plan, Work
from raydl.data.batches import minibatches, passes


@pytest.mark.parametrize(
    ("plan", "samples", "batch", "steps"),
    [
        (Plan(10), 60, 10, 6),
        (Plan(10, epochs=3), 61, 10, 21),
        (Plan(10, epochs=2), 4, 4, 2),
        (Plan(None, epochs=5), 61, 61, 5),
        (Plan(64, steps=4), 500, 64, 4),
        (Plan(64, steps=4), 5, 5, 4),
        (Plan(10, epochs=3, steps=1), 60, 10, 1),
    ],
)
def test_length_of_local_training(plan, samples, batch, steps):
    assert plan.batch(samples) == batch
    assert plan.local_steps(samples) == steps


@pytest.mark.parametrize(
    "plan",
    [Plan(10), Plan(10, epochs=3), Plan(None, epochs=5), Plan(64, steps=4), Plan(9, steps=1)],
)
@pytest.mark.parametrize("samples", [1, 9, 10, 61, 64, 500])
def test_samples_trained_on_are_those_of_the_minibatches(plan, samples):
    drawn = [len(each) for each in minibatches(samples, plan, passes(samples, torch.Generator()))]
    assert plan.trained(samples) == sum(drawn)
    assert plan.local_steps(samples) == len(drawn)


@pytest.mark.parametrize("size", [1, 3, 10, 99])
def test_blocks_are_consecutive_clients_and_together_the_cohort(size):
    work = Work(4, (7, 3, 9, 1, 0, 2, 8, 6, 5, 4), Plan(10))
    blocks = list(work.blocks(size))
    assert sum((block.clients for block in blocks), ()) == work.clients
    assert all(len(block.clients) == size for block in blocks[:-1])
    assert all(block._replace(clients=work.clients) == work for block in blocks)
