"""torchvision's transforms as an augmentation: the same numbers, drawn from raydl's seeds."""

import random

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from raydl import Run, SpecError
from raydl.config import options
from raydl.core.algorithm import Plan, Work
from raydl.core.rng import generator
from raydl.data import Partition, Tensors, Transforms
from raydl.data.batches import ClientData
from raydl.data.checks import check_augmentation
from tests.command import done, refused, summary

IMAGES = torch.randint(256, (6, 8, 8, 3), dtype=torch.uint8, generator=generator(0))
CALLS = "RandomCrop(8, padding=2), RandomHorizontalFlip()"
OBJECT = v2.Compose([v2.RandomCrop(8, padding=2), v2.RandomHorizontalFlip()])
SMALL = ("--clients=4", "--rounds=2", "--participation.fraction=1", "--runtime=sequential")


@pytest.mark.parametrize(
    ("calls", "transform"),
    [
        (CALLS, OBJECT),
        ("Grayscale(num_output_channels=3)", v2.Grayscale(3)),
        ("RandomApply([ColorJitter(0.4, hue=(-0.1, 0.1))], p=0.8),", None),
        ("[RandomChoice([RandomInvert(1.0), Identity()])]", None),
    ],
)
def test_calls_are_what_they_say(calls, transform):
    changed = Transforms(calls)(IMAGES, generator(1))
    assert changed.shape == IMAGES.shape
    assert changed.dtype == torch.uint8
    assert changed.is_contiguous()
    assert torch.equal(changed, Transforms(calls)(IMAGES, generator(1)))
    if transform is not None:
        assert torch.equal(changed, Transforms(transform)(IMAGES, generator(1)))


def test_images_are_those_of_torchvision():
    flipped = Transforms("RandomHorizontalFlip(1.0)")(IMAGES, generator(0))
    assert torch.equal(flipped, v2.functional.horizontal_flip(IMAGES.movedim(3, 1)).movedim(1, 3))


@pytest.mark.parametrize("each", [False, True])
def test_a_minibatch_is_changed_alike_or_image_by_image(each):
    same = IMAGES[:1].repeat(40, 1, 1, 1)
    changed = Transforms("RandomHorizontalFlip()", each=each)(same, generator(0))
    assert len(changed.unique(dim=0)) == (2 if each else 1)


def test_the_caller_s_generators_are_left_alone():
    state = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()
    draws = [Transforms(CALLS)(IMAGES, generator(seed)) for seed in range(4)]
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state[1:]
    assert len(torch.stack(draws).unique(dim=0)) > 1


def test_a_transform_is_an_augmentation():
    given = Run(augmentation=OBJECT)
    assert given.augmentation == Transforms(OBJECT)
    told = options.to_mapping(given)["augmentation"]
    assert told["calls"].startswith("<Compose( RandomCrop(size=(8, 8)")
    named = Run(augmentation=Transforms(CALLS, each=True))
    assert options.from_mapping(options.to_mapping(named)) == named


def test_clients_side_by_side_have_the_minibatches_that_each_has_alone():
    data = Tensors(
        IMAGES.movedim(3, 1).repeat(5, 1, 1, 1), [0, 1] * 15, validation=0, test=0
    ).load()
    clients = ClientData(data, Partition.cut(np.arange(30), [12, 18]), 0, Transforms(CALLS))
    work = Work(0, (0, 1), Plan(8, steps=3))
    alone = [[*clients.batches(work, client)] for client in work.clients]
    for step, (together, _) in enumerate(clients.stacked(work)):
        for client, inputs in enumerate(together.inputs):
            assert torch.equal(inputs, alone[client][step].inputs)


def test_on_the_command_line(tmp_path):
    asked = ("--augmentation=Transforms", f"--augmentation.calls={CALLS}", "--storage", tmp_path)
    done("run", *asked, *SMALL, "--name=a")
    done("run", "--resume", tmp_path / "a", "--rounds=3")
    class_ = "--augmentation=torchvision.transforms.v2:RandomHorizontalFlip"
    done("run", class_, "--augmentation.p=1", *SMALL, "--storage", tmp_path, "--name=b")
    assert summary(tmp_path / "b")["rounds"] == 2
    assert "in Python" in refused("run", "--resume", tmp_path / "b")


@pytest.mark.parametrize(
    ("calls", "told"),
    [
        ("RandomCorp(8)", "unknown transform 'RandomCorp'; did you mean 'RandomCrop'"),
        ("RandomCrop(8", "makes no transform: .*must be calls with plain"),
        ("RandomCrop()", "makes no transform: .*missing 1 required"),
        ("RandomCrop(len)", "makes no transform"),
        ("__import__('os')", "unknown transform '__import__'"),
        ("v2.Pad(2)", "unknown transform 'v2.Pad'; did you mean 'Pad'"),
        ("3", "augmentation.calls is '3'; it must be calls of transforms"),
        ("", "makes no transform"),
        (3, "augmentation.calls is 3; it must be a transform of torchvision.transforms.v2"),
    ],
)
def test_what_is_no_transform_is_told(calls, told):
    with pytest.raises(SpecError, match=told):
        Transforms(calls)


@pytest.mark.parametrize(
    ("calls", "inputs", "told"),
    [
        ("Pad(2)", IMAGES, r"the shape of its inputs from \(2, 8, 3, 8\) to \(2, 12, 7, 8\)"),
        ("ToDtype(float32)", IMAGES, "makes no transform"),
        ("RandomHorizontalFlip()", torch.rand(6, 4), "left out for data without images"),
        ("RandomHorizontalFlip()", {"x": IMAGES}, "left out for data without images"),
    ],
)
def test_what_does_not_fit_the_data_is_told(calls, inputs, told):
    data = Tensors(inputs, torch.arange(6) % 2, validation=0, test=0).load()
    with pytest.raises(SpecError, match=told):
        check_augmentation(Transforms(calls), data, seed=0)
