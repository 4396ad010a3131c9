import tracemalloc

import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Synthetic


def test_everything_follows_from_the_spec():
    one, same = Synthetic(samples=500).load(), Synthetic(samples=500).load()
    other = Synthetic(samples=500, seed=1).load()
    assert torch.equal(one.train.inputs, same.train.inputs)
    assert torch.equal(one.train.targets, same.train.targets)
    assert not torch.equal(one.train.inputs, other.train.inputs)


def test_shapes_sizes_and_balance():
    made = Synthetic(samples=1000, test=205, classes=20, size=11, channels=3, validation=0.2).load()
    assert made.train.inputs.shape == (800, 11, 11, 3)
    assert made.validation.inputs.shape == (200, 11, 11, 3)
    assert made.test.inputs.shape == (205, 11, 11, 3)
    assert made.train.inputs.dtype == torch.uint8
    assert made.shape == (3, 11, 11)
    assert made.train.targets.bincount().tolist() == [40] * 20
    assert set(made.test.targets.bincount().tolist()) == {10, 11}


def test_parts_do_not_repeat_each_other():
    made = Synthetic(samples=400, test=200, validation=0.5).load()
    assert not torch.equal(made.train.inputs, made.validation.inputs)
    assert not torch.equal(made.train.inputs, made.test.inputs)


def test_without_noise_a_class_is_one_image():
    made = Synthetic(samples=100, noise=0).load()
    for label in range(10):
        assert len(made.train.inputs[made.train.targets == label].unique(dim=0)) == 1
    assert len(made.train.inputs.unique(dim=0)) == 10


def test_scale_is_that_of_the_pixels():
    made = Synthetic(classes=200, noise=1.0).load()
    pixels = made.train.inputs.float()
    assert abs(pixels.mean() - made.mean) < 2
    assert abs(pixels.std() / made.std - 1) < 0.05


@pytest.mark.parametrize(("noise", "low", "high"), [(1.0, 0.99, 1.0), (2.0, 0.9, 0.99)])
def test_nearest_class_mean_learns_it_and_noise_makes_it_harder(noise, low, high):
    made = Synthetic(noise=noise).load()
    inputs = made.train.inputs.float().flatten(1)
    means = torch.stack([inputs[made.train.targets == label].mean(0) for label in range(10)])
    guessed = torch.cdist(made.test.inputs.float().flatten(1), means).argmin(1)
    accuracy = (guessed == made.test.targets).float().mean()
    assert low <= accuracy <= high


def test_memory_is_a_few_times_that_of_the_images():
    tracemalloc.start()
    made = Synthetic(samples=500_000, test=0).load()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * (made.train.inputs.nbytes + made.validation.inputs.nbytes)


@pytest.mark.parametrize(
    "field",
    [{"samples": 5}, {"test": -1}, {"classes": 1}, {"size": 0}, {"channels": 0}, {"noise": -1.0}],
)
def test_impossible_fields_are_refused(field):
    with pytest.raises(SpecError, match=f"data.{next(iter(field))}"):
        Synthetic(**field)
