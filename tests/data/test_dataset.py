import numpy as np
import pytest
import torch

from raydl.core.errors import SpecError
from raydl.data import Dataset, Split, split_stratified


def numbered(labels: torch.Tensor, **fields) -> Dataset:
    """A data set whose one feature is the sample's number."""
    every = Split(torch.arange(float(len(labels)))[:, None], labels)
    return Dataset("numbered", every, every.none(), every.none(), 10, **fields)


def numbers(split: Split) -> list[int]:
    return split.inputs[:, 0].int().tolist()


LABELS = torch.from_numpy(np.random.default_rng(0).choice(10, 5000, p=np.arange(1, 11) / 55))


@pytest.mark.parametrize(("validation", "test"), [(0.1, 0.2), (0.25, 0.0), (0.0, 0.3)])
def test_parts_are_exact_disjoint_and_stratified(validation, test):
    whole = numbered(LABELS)
    split = split_stratified(whole, validation, test)
    sizes = len(split.validation.targets), len(split.test.targets)
    assert sizes == (5000 * validation, 5000 * test)
    parts = [split.train, split.validation, split.test]
    assert sorted(n for part in parts for n in numbers(part)) == list(range(5000))
    for part in parts:
        assert numbers(part) == sorted(numbers(part))
        assert torch.equal(part.targets, LABELS[numbers(part)])
        share = len(part.targets) / 5000
        off = part.targets.bincount(minlength=10) - share * LABELS.bincount()
        assert off.abs().max() < 2


def test_no_validation_leaves_the_training_set_alone():
    whole = numbered(LABELS)
    assert split_stratified(whole, 0).train is whole.train


def test_split_depends_on_labels_and_seed_alone():
    split = split_stratified(numbered(LABELS), 0.1)
    same = split_stratified(numbered(LABELS.clone(), owners=LABELS), 0.1)
    other = split_stratified(numbered(LABELS), 0.1, split_seed=1)
    assert numbers(split.validation) == numbers(same.validation) != numbers(other.validation)


def test_owners_follow_their_samples():
    owners = torch.arange(5000) * 3
    split = split_stratified(numbered(LABELS, owners=owners), 0.1, 0.2)
    assert torch.equal(split.owners, owners[numbers(split.train)])


def test_official_test_set_is_kept():
    official = Split(torch.tensor([[-1.0]]), torch.tensor([3]))
    whole = numbered(LABELS)
    whole = Dataset("with test", whole.train, whole.validation, official, 10)
    assert split_stratified(whole, 0.1).test is official


def test_sequences_are_split_at_random():
    tokens = torch.arange(200).reshape(20, 10)
    every = Split(tokens, tokens + 1)
    whole = Dataset("tokens", every, every.none(), every.none(), 201)
    split = split_stratified(whole, 0.5)
    assert len(split.train.targets) == len(split.validation.targets) == 10
    assert torch.equal(split.train.inputs + 1, split.train.targets)


@pytest.mark.parametrize(
    ("stored", "seen"), [((5, 7, 3), (3, 5, 7)), ((9,), (9,))], ids=["images", "features"]
)
def test_shape_is_what_the_model_sees(stored, seen):
    every = Split(torch.zeros(2, *stored), torch.tensor([0, 1]))
    assert Dataset("shaped", every, every.none(), every.none(), 2).shape == seen


@pytest.mark.parametrize("fractions", [(-0.1, 0), (1.0, 0), (0.5, 0.5), (0, 1.2)])
def test_fractions_that_leave_nothing_are_refused(fractions):
    with pytest.raises(SpecError, match="data"):
        split_stratified(numbered(LABELS), *fractions)


def test_a_fraction_that_rounds_to_everything_is_refused():
    with pytest.raises(SpecError, match="takes all 2 samples"):
        split_stratified(numbered(LABELS[:2]), 0.9)
