"""What a `Run` takes for the fields that name something, and what run.yaml says of it."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn
from torch.utils.data import TensorDataset

from raydl import Model, Run, SpecError
from raydl.algorithms import FedAvg, FedSGD, LocalSGD
from raydl.config import options
from raydl.config.choices import CHOICES
from raydl.config.given import title
from raydl.core.spec import Spec
from raydl.data import IID, CropFlip, Dataset, Digits, Partition, Skewed, Tensors
from raydl.data.own import load_dataset
from raydl.models import MLP
from raydl.optim import LARS
from raydl.runtimes.local.spec import Sequential

X, Y = torch.arange(24.0).reshape(12, 2), torch.arange(12) % 3


class Source:
    def __init__(self, gives: object = None) -> None:
        self.samples, self.table, self.where = 12, np.arange(3), Path("a/b")
        self._cache, self.lock = [1], object()
        self._gives = gives

    def load(self) -> object:
        return Digits().load() if self._gives is None else self._gives


class Halves:
    per_client = 2

    def assign(self, labels, clients, seed, owners=None):
        return split(labels, clients, seed, owners)


class Everybody:
    def cohorts(self, clients, seed):
        yield from everybody(clients, seed)


class Same:
    def __call__(self, inputs, generator):
        return inputs


def source() -> tuple:
    return X.numpy(), Y.tolist()


def split(labels, clients, seed, owners):
    return Partition.cut(np.arange(len(labels)), np.full(clients, len(labels) // clients))


def everybody(clients, seed):
    while True:
        yield list(range(clients))


def same(inputs, generator):
    return inputs


def net(classes: int, act=None, width: float = 1.0) -> nn.Module:
    return nn.Linear(2, classes)


def test_every_choice_brings_its_fields_to_their_kinds():
    ours = [cls for name, each in CHOICES.items() if name != "model" for cls in each.values()]
    assert [cls for cls in ours if not issubclass(cls, Spec)] == []


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("algorithm", "fedsgd", FedSGD()),
        ("data", "Digits", Digits()),
        ("partition", "iid", IID()),
        ("participation", "Skewed", Skewed()),
        ("model", "mlp", Model("MLP")),
        ("model", MLP, Model(MLP)),
        ("model", net, Model(net)),
        ("model", "none", None),
        ("augmentation", "CropFlip", CropFlip()),
        ("augmentation", "none", None),
        ("runtime", "sequential", Sequential()),
        ("storage", Path("some/where"), "some/where"),
        ("clients", np.int64(7), 7),
        ("epochs", np.float32(0.5), 0.5),
    ],
)
def test_what_a_run_takes_for_a_field(name, given, expected):
    assert getattr(Run(**{name: given}), name) == expected


@pytest.mark.parametrize(
    "data",
    [(X, Y), [X.numpy(), Y.numpy()], (X.tolist(), Y.tolist()), TensorDataset(X, Y)],
    ids=["tensors", "arrays", "lists", "TensorDataset"],
)
def test_samples_and_their_classes_are_data(data):
    run = Run(data=data)
    assert torch.equal(run.data.inputs.float(), X)
    assert torch.equal(run.data.targets, Y)


@pytest.mark.parametrize(
    "gives", [Tensors(X, Y), (X.numpy(), Y), (X.tolist(), Y.tolist())], ids=str
)
def test_a_source_may_load_what_data_may_be(gives):
    assert isinstance(load_dataset(Source(gives)), Dataset)


@pytest.mark.parametrize(
    ("name", "given", "told"),
    [
        ("algorithm", "FedAgv", "did you mean 'FedAvg'"),
        (
            "algorithm",
            FedAvg,
            r"algorithm is the class FedAvg; it must be an instance: FedAvg\(...\)",
        ),
        (
            "algorithm",
            3,
            "algorithm is 3; it must be one of .*EASGD, .* an object with the method build",
        ),
        ("data", None, "data is None; it must be one of Digits, .* or \\(x, y\\) themselves"),
        ("data", (X, Y, X), r"data is \(tensor.*method load"),
        ("data", "Prepared", "no defaults for all of its options.*uri"),
        ("data", "os:getcwdu", "cannot be imported"),
        ("participation", 0.5, "method cohorts or selector, or a function"),
        ("augmentation", nn.Flatten, "is the class Flatten; it must be an instance"),
        ("runtime", "actor", "did you mean 'actors'"),
        ("model", nn.Linear(2, 2), "a module that is made already; give its class"),
        ("model", 3, "model is 3; it must be one of MLP, "),
        ("rounds", "3", "rounds is '3'; it must be int or null"),
        ("rounds", True, "rounds is True"),
        ("precision", "fp16", "precision is 'fp16'; it must be 'float32' or 'bf16'"),
        ("checkpoint", {"every": 3}, "checkpoint is .*; it must be Checkpointing"),
    ],
)
def test_everything_else_is_told_by_the_name_of_the_field(name, given, told):
    with pytest.raises(SpecError, match=told):
        Run(**{name: given})


def test_what_an_algorithm_names_may_be_a_word_too():
    assert LocalSGD(optimizer="lars").optimizer == LARS()
    with pytest.raises(
        SpecError, match=r"unknown algorithm.schedule 'Cosin'; did you mean 'Cosine'"
    ):
        LocalSGD(schedule="Cosin")


OWN = [
    ("data", Source(), source, {"samples": 12, "where": "a/b"}),
    ("partition", Halves(), split, {}),
    ("participation", Everybody(), everybody, {}),
    ("augmentation", Same(), same, {}),
]


@pytest.mark.parametrize(("name", "thing", "function", "attributes"), OWN)
def test_own_objects_and_functions_are_told_by_name_and_attributes(
    name, thing, function, attributes
):
    told = options.to_mapping(Run(**{name: thing}))[name]
    assert yaml.safe_load(yaml.safe_dump(told)) == told
    digest = told.pop("table", "sha256:")  # of an array
    assert digest.startswith("sha256:")
    assert told == {"name": f"tests.test_chosen:{type(thing).__name__}"} | attributes
    run = Run(**{name: function})
    mapping = options.to_mapping(run)
    assert mapping[name] == {"name": f"tests.test_chosen:{function.__name__}"}
    assert title(getattr(run, name)) == function.__name__
    assert options.from_mapping(mapping) == run  # so the command line takes it, too


@pytest.mark.parametrize(
    ("act", "told"),
    [
        (nn.Tanh, "torch.nn.modules.activation:Tanh"),
        (torch.relu, "torch:relu"),
        (nn.functional.relu, "torch.nn.functional:relu"),
        (np.tanh, "numpy:tanh"),
        (np.float64(0.5), 0.5),
        (Path("x/y"), "x/y"),
        (torch.float16, "torch.float16"),
        ((1, np.int64(2)), [1, 2]),
        ({"a": Path("b")}, {"a": "b"}),
    ],
    ids=["class", "built-in", "function", "ufunc", "numpy", "path", "dtype", "tuple", "dict"],
)
def test_options_of_a_model_in_yaml(act, told):
    mapping = options.to_mapping(Run(model=Model(net, {"act": act})))["model"]
    assert mapping == {"name": "tests.test_chosen:net", "act": told, "width": 1.0}
    assert type(mapping["act"]) is type(told)


def test_a_partial_model_is_told_as_what_it_is_made_of():
    mapping = options.to_mapping(Run(model=partial(net, width=2.5)))["model"]
    assert mapping == {"name": "tests.test_chosen:net", "act": None, "width": 2.5}


@dataclass(frozen=True)
class Odd:
    inner: object = field(default_factory=object)

    def load(self) -> Dataset:
        raise AssertionError("told before any data is loaded")


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"model": Model(net, {"act": nn.ReLU()})},
            r"model.act is ReLU\(\).*give its class or a fun",
        ),
        ({"model": Model(net, {"act": [object()]})}, r"model.act\[0\] is <object"),
        ({"data": Odd()}, "data.inner is <object.*which run.yaml cannot hold"),
    ],
)
def test_what_yaml_cannot_hold_is_told_before_any_work(fields, told, tmp_path):
    import raydl

    with pytest.raises(SpecError, match=told):
        raydl.run(Run(**{"data": Odd(1)} | fields, storage=tmp_path, runtime="sequential"))
    assert list(tmp_path.iterdir()) == []
