"""What modules carry from pass to pass is a client's state: on any workers, after any pause."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrizations

import raydl
from raydl import Model, Run, SpecError
from raydl.algorithms import FedAvg, LocalSGD
from raydl.data import Tensors, Uniform
from raydl.optim import schedule
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.parameter_server.spec import ShardedServer
from tests.zoo import STATEFUL, ZOO, Counter, CounterReassigned, Flag, Layers, Moving, data

pytestmark = pytest.mark.filterwarnings("ignore:.*_norm.* is deprecated:FutureWarning")


class Everything(Layers):
    """All kinds of state in one module, and a frozen part."""

    def __init__(self, classes):
        super().__init__(classes)
        self.parts = nn.ModuleList([Counter(6), CounterReassigned(6), Flag(6), Moving(6)])
        self.norms = nn.Sequential(nn.BatchNorm1d(6, momentum=None), nn.BatchNorm1d(6))
        self.b = parametrizations.spectral_norm(self.b)
        self.parts[0].requires_grad_(False)
        self.a.weight.register_hook(lambda grad: 0.5 * grad)

    def middle(self, h):
        for each in self.parts:
            h = each.middle(h)
        return self.norms(super().middle(h))


class Other(Everything):
    """Of which what is frozen is something else each time."""

    made = 0

    def __init__(self, classes):
        super().__init__(classes)
        Other.made += 1
        self.parts[0].a.bias.data.fill_(Other.made)


def spec_of(model, kind, storage, **changes) -> Run:
    train = data(kind).train
    inputs = train.inputs.permute(0, 3, 1, 2) if kind == "images" else train.inputs
    return Run(
        **{
            "algorithm": FedAvg(lr=0.1, epochs=1, batch_size=3),
            "data": Tensors(inputs, train.targets, validation=0.25, test=0),
            "participation": Uniform(1.0),
            "model": Model(model),
            "clients": 6,
            "rounds": 4,
            "runtime": Sequential(),
            "storage": str(storage),
        }
        | changes
    )


@pytest.mark.parametrize("name", STATEFUL)
def test_a_resumed_run_is_the_whole_one(name, tmp_path):
    kind, make = ZOO[name]
    spec = spec_of(lambda classes: make(), kind, tmp_path)
    whole = raydl.run(replace(spec, name="whole"))
    raydl.run(replace(spec, name="parts", rounds=2))
    parts = raydl.run(replace(spec, name="parts"), resume=True)
    assert parts.summary["fingerprint"] == whole.summary["fingerprint"]
    assert parts.summary["val_loss"] == whole.summary["val_loss"]


@pytest.mark.usefixtures("cluster")
def test_state_of_all_kinds_does_not_depend_on_workers(tmp_path):
    spec = spec_of(Everything, "features", tmp_path)
    whole = raydl.run(replace(spec, name="whole"))
    one = raydl.run(replace(spec, name="one", runtime=Actors(1)))
    raydl.run(replace(spec, name="two", rounds=2, runtime=Actors(2)))
    two = raydl.run(replace(spec, name="two", runtime=Actors(2)), resume=True)
    prints = {each.summary["fingerprint"] for each in (whole, one, two)}
    assert len(prints) == 1


@pytest.mark.usefixtures("cluster")
def test_odd_names_and_shapes_go_through_a_parameter_server_in_shards(tmp_path):
    for name in ("odd names", "odd shapes"):
        algorithm = LocalSGD(2, schedule=schedule.Constant(), batch_size=3, steps=2)
        spec = spec_of(
            lambda classes, name=name: ZOO[name][1](),
            "features",
            tmp_path,
            algorithm=algorithm,
            clients=None,
            participation=Uniform(),
        )
        alone = raydl.run(spec)
        served = raydl.run(replace(spec, runtime=ShardedServer(shards=3, cpus=0.5)))
        for key, value in alone.params.items():
            torch.testing.assert_close(served.params[key], value, msg=key)


def test_a_checkpoint_is_a_state_dict_and_loads_as_the_model(tmp_path):
    spec = spec_of(Everything, "features", tmp_path, name="run")
    history = raydl.run(spec)
    torch.manual_seed(0)
    model = Everything(4)
    for place in ("best", "checkpoints/000004"):
        model.load_state_dict(load_file(tmp_path / "run" / place / "model.safetensors"))
    for key, value in model.state_dict().items():
        assert torch.equal(history.params[key], value), key
    frozen = dict(model.named_parameters())["parts.0.a.weight"]
    torch.manual_seed(0)
    assert torch.equal(frozen, Everything(4).parts[0].a.weight)
    loaded = raydl.load("run", storage=str(tmp_path))
    assert not loaded.training
    assert type(loaded) is Everything
    for key, value in [*loaded.state_dict().items(), *loaded.named_buffers()]:
        expected = {**history.params, "parts.3.mean": loaded.parts[3].mean}[key]
        assert torch.equal(expected, value), key
    assert loaded.parts[3].mean.any()  # which is no part of the state_dict
    inputs, targets = spec.data.load().validation
    with torch.no_grad():
        loss = float(nn.functional.cross_entropy(loaded(inputs), targets))
    assert loss == pytest.approx(history.summary["val_loss"], rel=1e-5)
    best = raydl.load(str(tmp_path / "run"), which="best")
    assert best.state_dict().keys() == loaded.state_dict().keys()


def test_frozen_parameters_are_neither_sent_nor_counted(tmp_path):
    kind, make = ZOO["frozen"]
    spec = spec_of(lambda classes: make(), kind, tmp_path)
    history = raydl.run(replace(spec, algorithm=FedAvg(weight_decay=0.1, momentum=0.9, epochs=1)))
    trained = sum(each.numel() for each in make().parameters() if each.requires_grad)
    assert history.summary["parameters"] == trained
    assert history.summary["bytes_up"] == 4 * 6 * 4 * trained
    torch.manual_seed(0)
    first = make().state_dict()
    for name in ("a.weight", "a.bias", "b.bias"):
        assert torch.equal(history.params[name], first[name])
    assert not torch.equal(history.params["b.weight"], first["b.weight"])


def test_another_frozen_part_is_no_way_to_go_on(tmp_path):
    spec = spec_of(Other, "features", tmp_path, name="run", rounds=2)
    raydl.run(spec)
    with pytest.raises(SpecError, match=r"frozen parameter parts.0.a.bias is not what the run beg"):
        raydl.run(replace(spec, rounds=3), resume=True)


def test_a_model_that_nobody_can_make_again_is_told(tmp_path):
    raydl.run(spec_of(lambda classes: Layers(classes), "features", tmp_path, name="run"))
    with pytest.raises(
        SpecError, match=r"cannot be made from its run.yaml.*load_file of .*model.s"
    ):
        raydl.load("run", storage=str(tmp_path))
    with pytest.raises(SpecError, match=r"which is 'first'; it must be 'last' or 'best'"):
        raydl.load("run", "first", str(tmp_path))
