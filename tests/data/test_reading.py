"""The samples of torch's data sets: in order, the same whoever reads them, or told."""

import random

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from raydl import Run
from raydl.core.errors import SpecError
from raydl.data import TorchDataset
from raydl.data.forms.reading import read
from raydl.data.own import load_dataset

X = torch.rand(150, 3, 4, 5, generator=torch.Generator().manual_seed(0))
Y = torch.arange(150) % 3


class Samples(Dataset):
    """Samples that a function makes of their numbers."""

    def __init__(self, sample, count=150):
        self.sample, self.count = sample, count

    def __len__(self):
        return self.count

    def __getitem__(self, number):
        if not 0 <= number < self.count:
            raise IndexError(number)
        return self.sample(number)


def of_images(number):
    pixels = np.full((4, 6, 3), number, np.uint8)
    return Image.fromarray(pixels), number % 3


def of_draws(number):
    return torch.rand(2) + random.random() + np.random.rand(), float(number)


def of_sequences(number):
    return np.arange(1 + number % 5), [number] * (1 + number % 5)


def of_dictionaries(number):
    return {"x": X[number], "ids": [number, 2]}, number % 2 == 0


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(X, Y),
        [*zip(X, Y, strict=True)],
        Samples(lambda number: (X[number].numpy(), int(Y[number]))),
        ConcatDataset([Subset(TensorDataset(X, Y), range(70)), TensorDataset(X[70:], Y[70:])]),
    ],
    ids=["tensors", "list", "arrays", "parts"],
)
@pytest.mark.parametrize("processes", [None, 2])
def test_samples_are_read_in_their_order(dataset, processes):
    inputs, targets = read(dataset, processes)
    assert torch.equal(inputs, X)
    assert torch.equal(targets, Y)


@pytest.mark.parametrize("sample", [of_images, of_draws, of_sequences, of_dictionaries])
def test_the_numbers_do_not_depend_on_who_reads(sample):
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    alone, shared = (read(Samples(sample), processes) for processes in (0, 3))
    assert str(alone) == str(shared)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]


def test_images_are_tensors_as_torchvision_makes_them():
    from torchvision.transforms.functional import pil_to_tensor

    images, targets = read(Samples(of_images))
    assert images.shape == (150, 3, 4, 6)
    assert torch.equal(images[17], pil_to_tensor(of_images(17)[0]))
    assert targets[17] == 17 % 3
    grey, _ = read(Samples(lambda number: (of_images(number)[0].convert("L"), 0), 5))
    assert grey.shape == (5, 1, 4, 6)


def test_sequences_are_padded_over_all_batches():
    inputs, targets = read(Samples(of_sequences))
    assert inputs.shape == targets.shape == (150, 5)
    assert inputs[1].tolist() == [0, 1, 0, 0, 0]
    assert targets[1].tolist() == [1, 1, -100, -100, -100]


def fails(number):
    if number == 100:
        raise OSError("the disk is gone")
    return X[number], 0


@pytest.mark.parametrize("processes", [0, 2])
@pytest.mark.parametrize(
    ("sample", "told"),
    [
        (fails, "samples 64 to 127 cannot be read: OSError: the disk is gone"),
        (lambda number: X[number], "data's sample 0 is .*; it must be a pair"),
        (lambda number: (X[number], "cat"), "data's sample 0: its target is 'cat'; it must be num"),
        (lambda number: ({"a": "b"}, 1), "its input a is 'b'"),
        (lambda number: ({"a": 1} if number < 70 else {"b": 1}, 1), "a dictionary with a"),
        (lambda number: (X[number], None), "its target is None"),
        (lambda number: (X[number, : 1 + number % 2], 1), r"of shapes \(1, 4, 5\) and \(2, 4, 5\)"),
        (
            lambda number: (X[number, :, : 1 + number % 2], 1),
            "of shapes .* bring images to one siz",
        ),
    ],
)
def test_samples_that_do_not_fit_are_told(sample, told, processes):
    with pytest.raises(SpecError, match=told):
        read(Samples(sample), processes)


def test_a_dataset_is_data():
    data = load_dataset(Run(data=Samples(of_images)).data)
    assert data.name == "Samples"
    assert data.shape == (3, 4, 6)
    assert data.train.inputs.dtype == torch.uint8
    assert [len(each.targets) for each in (data.train, data.validation, data.test)] == [105, 15, 30]
    assert load_dataset(Run(data=Samples(of_dictionaries)).data).shape == {
        "ids": (2,),
        "x": (3, 4, 5),
    }


def test_an_official_test_set_and_owners():
    half = Samples(lambda number: ([float(number)], number % 2), 20)
    owners = [f"client {number // 5}" for number in range(20)]
    data = TorchDataset(half, Samples(lambda number: ([-1.0], 1), 7), owners=owners, validation=0.5)
    loaded = data.load()
    assert [len(each.targets) for each in (loaded.train, loaded.validation, loaded.test)] == [
        10,
        10,
        7,
    ]
    assert torch.equal(loaded.owners, loaded.train.inputs[:, 0].long() // 5)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(1, 2)])


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: Run(data=Stream()), "it must be a map-style Dataset.*a list of its samples"),
        (lambda: Run(data=Dataset()), "it must be a map-style Dataset"),
        (lambda: TorchDataset([]), "the number of data.dataset's samples is 0"),
        (lambda: TorchDataset([(1, 2)], owners=[1, 2]), r"data.owners' shape is \(2,\)"),
        (lambda: TorchDataset([(1, 2)], processes=-1), "data.processes is -1"),
    ],
)
def test_what_cannot_be_read_by_number_is_told(made, told):
    with pytest.raises(SpecError, match=told):
        made()
