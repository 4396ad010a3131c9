"""Samples with several inputs, which a model gets as keyword arguments."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import raydl
from raydl import Model, Run, SpecError
from raydl.algorithms import FedAvg
from raydl.core.algorithm import UNKNOWN_SCOPE, Plan, Work
from raydl.data import Split, Tensors
from raydl.data.batches import ClientData, two_samples
from raydl.data.checks import check_augmentation, check_dataset
from raydl.runtimes.local.spec import Batched, Sequential
from tests.federation import federation, final, relative_distance, seeded, train

DRAWS = torch.Generator().manual_seed(0)
Y = torch.arange(90) % 3
INPUTS = {
    "image": torch.randint(256, (90, 3, 4, 4), dtype=torch.uint8, generator=DRAWS),
    "words": torch.randint(11, (90, 5), generator=DRAWS),
    "age": torch.rand(90, generator=DRAWS) + Y,
}
TENSORS = Tensors(INPUTS, Y, mean={"image": 127}, std={"image": 64}, validation=0.1, test=0.2)
DATA = TENSORS.load()


class Several(nn.Module):
    """A model of three inputs."""

    def __init__(self, shape, classes, words=11):
        super().__init__()
        self.image = nn.Conv2d(shape["image"][0], 4, shape["image"][1:])
        self.words = nn.Embedding(words, 4)
        self.last = nn.Linear(9, classes)

    def forward(self, words, age, image):
        parts = [self.image(image).flatten(1), self.words(words).mean(1), age[:, None]]
        return self.last(torch.cat(parts, 1).tanh())


class Lazy(Several):
    def __init__(self, shape, classes):
        super().__init__(shape, classes)
        self.last = nn.LazyLinear(classes)


def problem(**options):
    with seeded():
        model = Several(DATA.shape, DATA.classes)
    algorithm = FedAvg(batch_size=4, epochs=1).build(UNKNOWN_SCOPE)
    return federation(algorithm, model, DATA, clients=6, **options)


@pytest.fixture(scope="module")
def expected():
    given = problem()
    with Sequential().open(given) as one:
        params = final(given, train(given, one, 2))
        return params, one.evaluate(params, "test")().metrics(given.task.spec)


@pytest.mark.parametrize("runtime", ["batched", "actors-2"], indirect=True)
def test_runtimes_give_the_numbers_of_one_process(runtime, expected):
    given = problem()
    opened = runtime(given)
    params = final(given, train(given, opened, 2))
    assert relative_distance(given, params, expected[0]) < 1e-4
    score = opened.evaluate(params, "test")().metrics(given.task.spec)
    assert score == pytest.approx(expected[1], 1e-4)


@pytest.mark.parametrize("batched", [False, True])
def test_pieces_of_minibatches_give_the_numbers_of_the_whole(batched, expected):
    given = problem(task={"microbatch": 3})
    with (Batched() if batched else Sequential()).open(given) as one:
        params = final(given, train(given, one, 2))
    assert relative_distance(given, params, expected[0]) < 1e-4


def test_minibatches_hold_the_samples_that_they_name():
    partition = problem().partition
    clients = ClientData(DATA, partition, 0)
    work = Work(0, (0, 1), Plan(4, steps=2))
    for (inputs, targets, _), (together, _) in zip(
        clients.batches(work, 0), clients.stacked(work), strict=True
    ):
        assert torch.equal(inputs["age"].floor().long(), targets)
        for name, each in inputs.items():
            assert torch.equal(together.inputs[name][0, : len(targets)], each)


def test_a_trial_has_the_smallest_and_the_largest_token():
    batch = two_samples(DATA)
    assert (batch.inputs["words"].min(), batch.inputs["words"].max()) == (0, 10)
    assert batch.inputs["image"].shape == (2, 3, 4, 4)
    assert batch.part(slice(1)).inputs["age"].shape == (1,)


@pytest.mark.parametrize("model", [Several, Lazy])
def test_a_run_leaves_its_model(tmp_path, model):
    asked = {"model": model, "clients": 3, "rounds": 2, "runtime": "sequential"}
    raydl.run(Run(data=TENSORS, storage=tmp_path, name="a", **asked))
    seen = two_samples(DATA).inputs
    assert raydl.load("a", storage=str(tmp_path))(**seen).shape == (2, 3)


def brighter(inputs, generator):
    return inputs | {"image": inputs["image"] // 2}


def test_an_augmentation_takes_them_all():
    clients = ClientData(DATA, problem().partition, 0, brighter)
    work = Work(0, (0, 1), Plan(None))
    (batch,) = clients.batches(work, 0)
    ((together, _),) = clients.stacked(work)
    assert batch.inputs["image"].max() <= (127 - 127) / 64
    assert torch.equal(together.inputs["image"][0, : len(batch.targets)], batch.inputs["image"])


@pytest.mark.parametrize(
    ("augmentation", "told"),
    [
        (lambda inputs, generator: inputs["image"], "it must give a dictionary with the inputs ag"),
        (
            lambda inputs, generator: dict.fromkeys(inputs, 0),
            "a tensor of the input age",
        ),
        (lambda inputs, generator: inputs | {"age": inputs["age"][:1]}, "shape of its input age"),
    ],
)
def test_an_augmentation_that_does_not_fit_is_told(augmentation, told):
    with pytest.raises(SpecError, match=told):
        check_augmentation(augmentation, DATA, seed=0)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (None, "are dictionaries with age, image, words, for which no model is usual"),
        (Model("MLP"), "model MLP cannot be made with inputs age, image, words: "),
        (Model(lambda classes: nn.Flatten()), r"It is called as model\(age=..., image=..., words="),
        (Model(Several, {"words": 5}), "in words, a Embedding.*words holds integers from 0 to 10"),
    ],
)
def test_a_model_that_does_not_fit_is_told(tmp_path, model, told):
    asked = {"clients": 3, "rounds": 2, "runtime": "sequential", "storage": tmp_path}
    with pytest.raises(SpecError, match=told):
        raydl.run(Run(data=TENSORS, model=model, **asked))


@pytest.mark.parametrize(
    ("split", "told"),
    [
        (Split({"age": Y}, Y), r"data's test inputs is \['age'\]; it must be one or more, and as"),
        (Split(Y, Y), "data's test inputs is 'a tensor'; it must be .* as in train"),
        (
            Split(DATA.train.inputs | {"age": Y[:3]}, DATA.train.targets),
            "the samples of data's test inputs is .*'age': 3.*it must be as many of each",
        ),
    ],
)
def test_inputs_that_do_not_fit_each_other_are_told(split, told):
    with pytest.raises(SpecError, match=told):
        check_dataset(replace(DATA, test=split))
