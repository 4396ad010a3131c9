"""Runs that begin with the parameters of another one, and parameters that stay as they are."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import raydl
from raydl import Checkpointing, Model, Run, SpecError
from raydl.algorithms import FedAvg, LocalSGD
from raydl.assembly.assemble import assemble
from raydl.assembly.start import freeze, take_over
from raydl.config import options
from raydl.core.algorithm import Work
from raydl.core.grad import parameters
from raydl.core.module import Complete, complete
from raydl.data import Tensors
from raydl.data.batches import ClientData
from raydl.models import MLP, Decoder
from raydl.optim import SGD
from raydl.optim.schedule import Constant
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.local.spec import Sequential
from tests.command import done, refused, summary
from tests.federation import digits, final, seeded, train
from tests.test_resume import stop
from tests.zoo import Moving, Tied

DRAWS = torch.Generator().manual_seed(0)
Y = torch.arange(60) % 4
DATA = Tensors(torch.randn(60, 8, generator=DRAWS) + Y[:, None], Y, validation=0.2, test=0.2)
MODEL = Model("MLP", {"hidden": [6]})
RESTLESS = FedAvg(lr=4.0, batch_size=4)


def spec(storage: Path, name: str, model: Model = MODEL, **fields: object) -> Run:
    usual = {"runtime": Sequential(), "rounds": 2, "checkpoint": Checkpointing(every=1)}
    algorithm = FedAvg(batch_size=4)
    run = Run(algorithm, DATA, model=model, clients=4, storage=str(storage), name=name)
    return replace(run, **usual | fields)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> raydl.History:
    """A run that did best before its end."""
    history = raydl.run(spec(tmp_path_factory.mktemp("runs"), "a", algorithm=RESTLESS, rounds=4))
    assert history.summary["best_round"] < 4
    return history


@pytest.mark.parametrize("which", ["last", "best"])
@pytest.mark.parametrize("where", ["path", "name"])
def test_the_first_parameters_are_those_of_the_run(source, which, where, tmp_path):
    if where == "name":
        shutil.copytree(source.path, tmp_path / "a")
    named = "a" if where == "name" else source.path
    still = FedAvg(lr=1e-12, batch_size=4)
    model = replace(MODEL, from_=named, from_which=which)
    begun = raydl.run(spec(tmp_path, "b", model, algorithm=still, rounds=1))
    for name, each in source.model(which).state_dict().items():
        torch.testing.assert_close(begun.params[name], each, rtol=0, atol=1e-9)
    written = yaml.safe_load((tmp_path / "b/run.yaml").read_text())["model"]
    assert written["from_"] == named
    assert written.get("from_which", "last") == which


def test_another_number_of_classes(source, tmp_path):
    """What is left out is as a run without another one begins."""
    fewer = Tensors(DATA.inputs, DATA.targets % 2, validation=0.2, test=0.2)
    model = replace(MODEL, from_=source.path, fresh="3.*")
    run = spec(tmp_path, "b", model, data=fewer)
    params = assemble(run, start=complete(source.model(), source.params)).params
    alone = assemble(spec(tmp_path, "b", data=fewer)).params
    for name, each in params.items():
        assert torch.equal(each, (alone if name.startswith("3") else source.params)[name])
    with pytest.raises(SpecError) as error:
        raydl.run(spec(tmp_path, "b", replace(model, fresh=None), data=fewer))
    told = str(error.value).splitlines()
    assert told[1:3] == ["  3.bias: (4,) there, (2,) here", "  3.weight: (4, 6) there, (2, 6) here"]
    assert told[3].endswith("--model.fresh '3.bias,3.weight'")
    assert list(tmp_path.iterdir()) == []


def tensors(model):
    return complete(model, parameters(model))


def test_what_is_on_one_side_alone_is_told():
    small, large = MLP((8,), 4, (6,)), MLP((8,), 4, (6, 5))
    with pytest.raises(SpecError, match=r"\n  5.weight: \(4, 5\) there, none here\n"):
        take_over(small, "a", tensors(large), None)
    with pytest.raises(SpecError, match=r"\n  5.weight: none there, \(4, 5\) here\n"):
        take_over(large, "a", tensors(small), None)
    take_over(small, "a", tensors(large), "3.*,5.*")
    assert torch.equal(small[1].weight, large[1].weight)


def test_tied_parameters_stay_together():
    with seeded():
        one, other = Tied(), Tied()
    first = one.b.weight.detach().clone()
    take_over(one, "a", tensors(other), "again.weight")
    assert torch.equal(one.b.weight, first)
    assert torch.equal(one.b.bias, other.b.bias)
    decoder = Decoder((5,), 7, width=8, depth=1, heads=1, tied=True)
    freeze(decoder, "head.*")
    assert not decoder.embedding.weight.requires_grad


def test_buffers_are_taken_too():
    one, other = Moving(), Moving()
    other.mean += 1
    take_over(one, "a", tensors(other), None)
    assert torch.equal(one.mean, other.mean)
    take_over(one, "a", Complete(tensors(other).state, {"mean": one.mean + 1}), "mean")
    assert torch.equal(one.mean, other.mean)


def body_and_head(classes):
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 16),
        nn.Tanh(),
        nn.Linear(16, 8),
        nn.Tanh(),
        nn.Linear(8, classes),
    )


@pytest.mark.parametrize("batched", [False, True])
def test_to_freeze_all_but_the_head_is_to_train_it_on_fixed_features(batched):
    algorithm = LocalSGD(1, SGD(0.1, momentum=0.9, weight_decay=0.01), Constant(), 20, 30)
    run = Run(algorithm, model=Model(body_and_head, frozen="1.*,3.*"), rounds=1)
    problem, params = assemble(run, digits())
    assert sorted(params) == ["5.bias", "5.weight"]
    (sent,) = train(problem, LocalRuntime(problem, batched=batched), 1, fraction=1)
    assert sent.bytes_up == 4 * (8 * 10 + 10 + 1)  # and the loss

    with seeded():
        model = body_and_head(10)
    body, head = model[:-1], model[-1]
    optimizer = torch.optim.SGD(head.parameters(), 0.1, momentum=0.9, weight_decay=0.01)
    plan = problem.algorithm.plan(problem.algorithm.init(params))
    batches = ClientData(problem.dataset, problem.partition, 0).batches(Work(0, (0,), plan), 0)
    for batch in batches:
        with torch.no_grad():
            features = body(batch.inputs)
        optimizer.zero_grad()
        nn.functional.cross_entropy(head(features), batch.targets).backward()
        optimizer.step()
    trained = final(problem, [sent])
    torch.testing.assert_close(trained["5.weight"], head.weight.detach())
    torch.testing.assert_close(trained["5.bias"], head.bias.detach())
    whole = complete(problem.task.model, trained).state
    assert torch.equal(whole["1.weight"], model[1].weight)


def remove(storage: Path) -> None:
    shutil.rmtree(storage / "a")


def go_on(storage: Path) -> None:
    raydl.run(spec(storage, "a", algorithm=RESTLESS, rounds=6), resume=True)


def remove_checkpoints(storage: Path) -> None:
    """As if it had been killed before the first; and the other run is another one now."""
    shutil.rmtree(storage / "b/checkpoints")
    (storage / "b/metrics.parquet").unlink()
    go_on(storage)


@pytest.mark.parametrize("change", [remove, go_on, remove_checkpoints])
def test_a_run_goes_on_when_the_other_one_has_changed_or_gone(source, change, tmp_path):
    shutil.copytree(source.path, tmp_path / "a")
    model = replace(MODEL, from_=str(tmp_path / "a"), frozen="1.*")
    whole = raydl.run(spec(tmp_path, "whole", model, rounds=4))
    run = spec(tmp_path, "b", model, rounds=4)
    stop(run, 1)
    change(tmp_path)
    again = raydl.run(run, resume=True)
    assert again.summary["fingerprint"] == whole.summary["fingerprint"]


def test_a_start_that_is_damaged_is_told(source, tmp_path):
    run = spec(tmp_path, "b", replace(MODEL, from_=source.path))
    raydl.run(run)
    (tmp_path / "b/start/model.safetensors").write_bytes(b"")
    with pytest.raises(SpecError, match=r"b/start, which the run began with, is damaged"):
        raydl.run(replace(run, rounds=3), resume=True)


def test_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    common = ("--clients", 4, "--rounds", 1, "--runtime", "sequential")
    done("run", *common, "--model", "Softmax", "--name", "a")
    done(
        *("run", *common, "--model", "Softmax", "--model.from_", "a", "--name", "b"),
        *("--model.from_which", "best", "--model.frozen", "*.bias"),
    )
    assert summary(tmp_path / "runs/b")["parameters"] == 640
    first, second = (raydl.load(name).state_dict() for name in ("a", "b"))
    assert torch.equal(first["1.bias"], second["1.bias"])
    assert not torch.equal(first["1.weight"], second["1.weight"])
    done("run", "--resume", "b", "--rounds", 2)
    for options_, told in {
        ("--model.from_", "c"): "there is no run 'c'",
        ("--model.from_", "a", "--model.fresh", "2.*"): "model.fresh has '2.*', which matches",
        ("--model.fresh", "1.*"): "name it with model.from_",
        ("--model.frozen", "1.biased"): "the nearest are 1.bias",
    }.items():
        assert told in refused("run", *common, "--model", "Softmax", *options_)


def heads(classes: int, frozen: bool = False) -> nn.Module:
    return nn.Linear(8, classes, bias=not frozen)


def test_a_factorys_own_argument_comes_first():
    run = options.parse([f"--model={__name__}:heads", "--model.frozen", "true"])
    assert run.model == Model(f"{__name__}:heads", {"frozen": True})
    assert options.from_mapping(options.to_mapping(run)) == run
    with pytest.raises(SpecError, match=r"model\.frozen is '\*'.*call that otherwise"):
        options.to_mapping(Run(model=Model(heads, frozen="*")))


def test_the_spec_comes_back_from_yaml():
    model = Model("MLP", {"hidden": [6]}, "s3://bucket/a", "best", ["3.*", "*.bias"], "1.*")
    run = Run(model=model)
    assert options.from_mapping(yaml.safe_load(yaml.safe_dump(options.to_mapping(run)))) == run
    assert "frozen" not in options.to_mapping(Run(model=MODEL))["model"]


def test_from_a_run_in_a_bucket(source, memory, tmp_path):
    there = raydl.run(spec(memory, "a"))
    for named, storage in ((there.path, tmp_path), ("a", memory)):
        run = raydl.run(spec(storage, "b", replace(MODEL, from_=named, frozen="1.*")))
        assert torch.equal(run.params["1.weight"], there.params["1.weight"])
        again = raydl.run(
            spec(storage, "b", replace(MODEL, from_=named, frozen="1.*"), rounds=3), resume=True
        )
        assert len(again.table) == 3
