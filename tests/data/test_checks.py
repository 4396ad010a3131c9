"""What own sources, partitions, participations and augmentations give is looked at, and told."""

from dataclasses import replace
from itertools import count, islice

import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Dataset, Partition, Split, Tensors, Uniform
from raydl.data.checks import (
    check_augmentation,
    check_cohorts,
    check_dataset,
    check_participation,
    check_partition,
)
from raydl.tasks.usual import check_targets, usual_task

X, Y = torch.rand(12, 5), torch.arange(12) % 3
SOUND = Dataset("own", Split(X, Y), Split(X, Y), Split(X[:0], Y[:0]), classes=3)
TOKENS = X.long()
EMPTY = Split(TOKENS[:0], TOKENS[:0])


def dataset(part: str = "train", **changes: torch.Tensor) -> Dataset:
    return replace(SOUND, **{part: SOUND.train._replace(**changes)})


def check(given: Dataset) -> None:
    check_dataset(given)
    check_targets(usual_task(*given.train), given)


@pytest.mark.parametrize(
    "sound",
    [
        SOUND,
        Tensors(X, Y).load(),
        replace(SOUND, train=Split(TOKENS, TOKENS), validation=EMPTY, test=EMPTY),
    ],
)
def test_sound_data_passes(sound):
    check(sound)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (dataset("test", targets=Y + 1), r"a class in data's test targets is 3; .* in \[0, 3\)"),
        (dataset("validation", targets=Y - 1), "validation targets is -1; .* classes count from 0"),
        (dataset(targets=Y[:4]), "the number of data's train targets is 4; it must be 12"),
        (dataset(targets=Y.int()), "the type of data's train targets is torch.int32"),
        (dataset(targets=Y[:, None]), r"of shape \(12, 1\); .* give targets.flatten\(\)"),
        (dataset(targets=torch.eye(3).long()[Y]), r"one-hot: give targets.argmax\(1\)"),
        (dataset(targets=torch.ones(12, 4).long()), "multi-hot, several classes for a sample"),
        (
            dataset(inputs=TOKENS, targets=Y.expand(2, 12).T),
            r"next tokens \[n, T\], .* shape \(12, 5\)",
        ),
        (dataset(inputs=X[:0], targets=Y[:0]), "one with training samples"),
        (replace(SOUND, owners=Y[:5]), r"owners is \(5,\); it must be \(12,\)"),
    ],
)
def test_data_that_does_not_fit_is_told(given, told):
    with pytest.raises(SpecError, match=told):
        check(given)


@pytest.mark.parametrize(
    ("partition", "told"),
    [
        (Partition.cut(np.arange(12), np.array([0, 6, 6, 0])), "gives client 0 no .* nor 1 other;"),
        (Partition.cut(np.arange(12), np.array([6, 6])), "partition is 2; it must be 4"),
        (Partition.cut(np.arange(8) + 5, np.full(4, 2)), r"is 12; it must be in \[0, 12\)"),
        (Partition.cut(np.arange(8) - 1, np.full(4, 2)), "is -1"),
        ([np.arange(3)] * 4, "partition.assign gave .* raydl.data.Partition"),
    ],
)
def test_a_partition_that_does_not_fit_is_told(partition, told):
    with pytest.raises(SpecError, match=told):
        check_partition(partition, clients=4, samples=12)


SIZES = np.full(4, 2)


class Own:
    def __init__(self, *cohorts: object) -> None:
        self._cohorts = cohorts

    def cohorts(self, clients, seed):
        return iter(self._cohorts)


@pytest.mark.parametrize(
    ("cohorts", "told"),
    [
        ([[0], []], r"participation's cohort of round 2 is \[\]; it must be one or more numbers"),
        ([[0, 4]], r"round 1 is \[0, 4\]; it must be numbers of clients in \[0, 4\)"),
        ([[-1]], "round 1 is"),
        ([[1, 1]], "a client takes part once"),
        ([[0.5]], "numbers of clients, int64"),
        ([[0], [1]], "ended after 2 rounds, but the run goes on"),
    ],
)
def test_a_participation_that_does_not_fit_is_told(cohorts, told):
    with pytest.raises(SpecError, match=told):
        check_participation(Own(*cohorts), SIZES, 0, rounds=3)


def test_a_participation_is_told_also_when_it_ends_later_than_was_looked_at():
    later = Own(*[[0]] * 1001)
    check_participation(later, SIZES, 0, rounds=5000)
    check_participation(later, SIZES, 0, rounds=None)
    with pytest.raises(SpecError, match="ended after 1001 rounds"):
        list(check_cohorts(later, 4, 0))
    with pytest.raises(SpecError, match=r"participation.cohorts gave None"):
        next(check_cohorts(type("None_", (), {"cohorts": lambda self, n, s: None})(), 4, 0))


def test_cohorts_that_fit_come_as_int64():
    endless = type("Endless", (), {"cohorts": lambda self, n, s: ([i % n] for i in count())})()
    drawn = list(islice(check_cohorts(endless, 4, 0), 5))
    assert [each.tolist() for each in drawn] == [[0], [1], [2], [3], [0]]
    assert {each.dtype for each in drawn} == {np.dtype(np.int64)}
    assert len(next(check_cohorts(Uniform(0.5), 4, 0))) == 2


@pytest.mark.parametrize(
    ("augmentation", "told"),
    [
        (lambda x, g: x[:, :2], r"changed the shape of its inputs from \(2, 5\) to \(2, 2\)"),
        (
            lambda x, g: x.double(),
            "changed the type of its inputs from torch.float32 to torch.float64",
        ),
        (lambda x, g: None, "augmentation gave None"),
    ],
)
def test_an_augmentation_that_changes_shape_or_type_is_told(augmentation, told):
    with pytest.raises(SpecError, match=told):
        check_augmentation(augmentation, SOUND, seed=0)


def test_the_trial_of_an_augmentation_leaves_the_data_as_it_is():
    before = SOUND.train.inputs.clone()
    check_augmentation(lambda inputs, generator: inputs.zero_(), SOUND, seed=0)
    assert torch.equal(SOUND.train.inputs, before)
