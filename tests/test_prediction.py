"""What a run's model says of samples: in Python, and as a table."""

import json
import shutil
from io import BytesIO
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from torch import nn

import raydl
from raydl import Model, Run, SpecError
from raydl.algorithms import FedAvg
from raydl.data import Digits, Tensors
from raydl.data.batches import Preparation
from raydl.run_folder.resumption import read_sample
from raydl.run_folder.sample import Sample
from raydl.runtimes.local.spec import Sequential
from raydl.storage import Folder
from raydl.tasks import Classification, Regression
from tests.command import SMALL, done, refused, summary

DRAWS = torch.Generator().manual_seed(0)
Y = torch.arange(90) % 3
FEATURES = torch.randn(90, 5, generator=DRAWS) + Y[:, None]
TOKENS = (torch.arange(9) + torch.arange(90)[:, None]) % 7


def run_on(data: Tensors, storage, model="MLP", **options) -> raydl.History:
    usual = {"runtime": Sequential(), "clients": 5, "rounds": 2, "name": "a"}
    run = Run(FedAvg(batch_size=5), data, model=model, storage=storage, **usual)
    return raydl.run(run, **options)


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """The folder of a run whose best parameters are not its last."""
    folder = tmp_path_factory.mktemp("runs")
    done("run", *SMALL, "--algorithm.lr", 2, "--storage", folder, "--name", "a")
    assert summary(folder / "a")["best_round"] < summary(folder / "a")["rounds"]
    return folder / "a"


def test_images_are_normalized_as_the_runs_were(digits):
    stored = Digits().load()
    images = stored.test.inputs.movedim(-1, 1)
    given = raydl.predict(str(digits), images)
    model = raydl.load(str(digits))
    normalized = (images.float() - stored.mean) / stored.std
    torch.testing.assert_close(given, model(normalized).detach())
    assert not given.requires_grad
    hits = (given.argmax(1) == stored.test.targets).double().mean()
    assert float(hits) == summary(digits)["test_accuracy"]
    assert torch.equal(given[:2], raydl.predict("a", images[:2].numpy(), storage=digits.parent))
    best = raydl.predict(str(digits), images, which="best")
    torch.testing.assert_close(best, raydl.load(str(digits), "best")(normalized).detach())
    assert not torch.equal(best, given)


def test_features_are_normalized_each_by_its_own(tmp_path):
    mean, std = [0.5, 1, 0, 0, 2], [1, 2, 3, 1, 1]
    history = run_on(Tensors(FEATURES, Y, mean=mean, std=std), tmp_path)
    normalized = (FEATURES - torch.tensor(mean)) / torch.tensor(std)
    expected = history.model()(normalized).detach()
    torch.testing.assert_close(raydl.predict(history.path, FEATURES.double().numpy()), expected)


def test_tokens_and_what_follows_each_of_them(tmp_path):
    data = Tensors(TOKENS[:, :-1], TOKENS[:, 1:])
    options = {"width": 8, "depth": 1, "heads": 1}
    history = run_on(data, tmp_path, Model("Decoder", options))
    given = raydl.predict(history.path, TOKENS[:, :-1])
    torch.testing.assert_close(given, history.model()(TOKENS[:, :-1]).detach())
    raydl_said = done("predict", history.path, "--data", f"{__name__}:sequences", "--json")
    assert json.loads(raydl_said)["samples"] == 18
    table = pd.read_parquet(json.loads(raydl_said)["output"])
    assert table["probabilities"][0].shape == (8,)  # of each position, and there of each class
    assert table["probabilities"][0][0].shape == (7,)
    assert table["prediction"][0].shape == table["target"][0].shape == (8,)


def sequences():
    return Tensors(TOKENS[:, :-1], TOKENS[:, 1:])


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (torch.rand(2, 1, 8, 8), "of shape (1, 8, 8) and type float32, but the run's model was"),
        (torch.rand(2, 8, 8, 1), "inputs are of shape (8, 8, 1)"),
        ([[1, 2]], "inputs are of shape (2,) and type int64"),
        (3.0, "inputs' shape is ()"),
        ([[1], [2, 3]], "are of shape (2,) and type int64"),
    ],
)
def test_samples_unlike_the_runs_are_told(digits, inputs, told):
    with pytest.raises(SpecError) as error:
        raydl.predict(str(digits), inputs)
    assert told in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        Digits(),
        Tensors(FEATURES, Y),
        Tensors(FEATURES, Y, mean=0.1, std=3),
        Tensors(FEATURES, Y, mean=[0.1, 2, 3, 4, 5], std=[1, 2, 3, 4, 1 / 3]),
        Tensors(TOKENS, Y),
    ],
)
def test_what_run_yaml_says_of_samples(data, tmp_path):
    """To the last bit, and where all features are normalized alike as one number."""
    told, dataset = Sample.of(data.load(), Classification()), data.load()
    back = Sample.from_mapping(json.loads(json.dumps(told.to_mapping())))
    assert back.to_mapping() == told.to_mapping()
    stored = dataset.train.inputs
    prepare = Preparation.of(dataset, torch.device("cpu"))
    assert torch.equal(back.preparation(stored), prepare(stored))


def test_the_model_of_a_history_needs_no_name(tmp_path):
    class Local(nn.Sequential):
        def __init__(self, shape, classes):
            super().__init__(nn.Linear(shape[0], classes), nn.BatchNorm1d(classes))

    history = run_on(Tensors(FEATURES, Y), tmp_path, Local)
    for which in ("last", "best"):
        model = history.model(which)
        assert type(model) is Local
        assert not model.training
    last = history.model().state_dict()
    assert last.keys() == history.params.keys()
    assert all(torch.equal(last[name], each) for name, each in history.params.items())
    with pytest.raises(SpecError, match=r"which is 'first'; it must be 'last' or 'best'"):
        history.model("first")
    finished = run_on(Tensors(FEATURES, Y), tmp_path, Local, resume=True)
    assert torch.equal(finished.model()[0].weight, history.model()[0].weight)


@pytest.mark.parametrize("which", ["last", "best"])
def test_the_command_scores_what_the_run_scored(digits, which):
    told, scored = done("predict", digits, "--which", which), summary(digits)
    prefix = "best_" if which == "best" else ""
    for name, form in (("accuracy", "{:.2%}"), ("loss", "{:.4g}")):
        figure = form.format(scored[f"{prefix}test_{name}"]).replace("%", " %")
        assert f"test {name} " in told
        assert figure in told
    said = json.loads(done("predict", digits, "--which", which, "--json"))
    assert said["test_loss"] == pytest.approx(scored[f"{prefix}test_loss"], rel=1e-12)
    assert said["output"] == f"{digits}/predictions/Digits-{which}-test.parquet"
    assert said["figure"] == f"{digits}/predictions/Digits-{which}-test.png"
    assert Path(said["figure"]).read_bytes()[:4] == b"\x89PNG"


def test_a_row_for_each_sample(digits, tmp_path):
    file = tmp_path / "said.parquet"
    assert f"{file}\n" in done("predict", digits, "--split", "validation", "--output", file)
    table, stored = pd.read_parquet(file), Digits().load()
    assert table.columns.tolist() == ["target", "prediction", "probabilities"]
    assert table["target"].tolist() == stored.validation.targets.tolist()
    logits = raydl.predict(str(digits), stored.validation.inputs.movedim(-1, 1))
    assert table["prediction"].tolist() == logits.argmax(1).tolist()
    given = torch.tensor([each.tolist() for each in table["probabilities"]])
    torch.testing.assert_close(given, logits.softmax(1))
    accuracy = (table["target"] == table["prediction"]).mean()
    assert accuracy == summary(digits)["val_accuracy"]


def test_other_data_and_another_part_of_the_same(digits):
    more = json.loads(done("predict", digits, "--data.test", 0.4, "--json"))
    assert more["samples"] == round(0.4 * 1797)
    other = json.loads(done("predict", digits, "--data", "Synthetic", "--json"))
    assert other["output"].endswith("/Synthetic-last-test.parquet")
    for options, told in {
        ("--data.test", 0): "split is 'test'; it must be validation or train, which Digits has",
        ("--split", "tset"): "split is 'tset'; it must be 'test' or 'validation' or 'train'",
        ("--which", "first"): "which is 'first'; it must be 'last' or 'best'",
        (
            "--data",
            f"{__name__}:sequences",
        ): "the samples of Tensors are of shape (8,) and type int",
        ("--data", f"{__name__}:many"): "data's classes is 11; it must be 10 or fewer",
        ("--no", "x"): "unknown field 'no'",
    }.items():
        assert told in refused("predict", digits, *options)
    assert "raydl predict needs a run" in refused("predict", "--split", "test")
    assert "there is no run 'b'" in refused("predict", "b")


def many():
    images = torch.zeros(22, 1, 8, 8, dtype=torch.uint8)
    return Tensors(images, torch.arange(22) % 11, validation=0, test=0.5)


def test_data_that_was_given_in_python_is_named_anew(tmp_path):
    path = run_on(Tensors(FEATURES, Y), tmp_path).path
    assert "name a data set with --data, or call raydl.predict" in refused("predict", path)
    named = json.loads(done("predict", path, "--data", f"{__name__}:given", "--json"))
    assert named["test_accuracy"] == summary(tmp_path / "a")["test_accuracy"]


def given():
    return Tensors(FEATURES, Y)


def test_a_run_in_a_bucket(memory, tmp_path):
    done("run", *SMALL, "--rounds", 1, "--storage", memory, "--name", "a")
    folder = Folder(f"{memory}/a")
    said = json.loads(done("predict", "a", "--storage", memory, "--json"))
    assert said["output"] == f"{memory}/a/predictions/Digits-last-test.parquet"
    table = pd.read_parquet(BytesIO((folder / "predictions").read("Digits-last-test.parquet")))
    assert said["test_accuracy"] == (table["target"] == table["prediction"]).mean()
    assert said["test_accuracy"] == json.loads(folder.read("summary.json"))["test_accuracy"]
    done("predict", f"{memory}/a", "--output", f"{memory}/b.parquet")
    assert Folder(memory).has("b.parquet")
    images = Digits().load().test.inputs.movedim(-1, 1)
    predicted = raydl.predict("a", images, storage=memory).argmax(1)
    assert predicted.tolist() == table["prediction"].tolist()
    assert read_sample(folder).classes == 10


def test_a_run_of_an_older_raydl_gives_its_model_and_says_why_it_cannot_predict(digits, tmp_path):
    older = tmp_path / "older"
    shutil.copytree(digits, older)
    settings = yaml.safe_load((older / "run.yaml").read_text())
    settings.pop("task")
    settings["sample"] = {"shape": [1, 8, 8], "classes": 10}
    (older / "run.yaml").write_text(yaml.safe_dump(settings))
    assert type(raydl.load(older)).__name__ == "MLP"
    assert "run.yaml does not say the mean of the run's samples" in refused("predict", older)
    settings.pop("sample")
    (older / "run.yaml").write_text(yaml.safe_dump(settings))
    with pytest.raises(SpecError, match=r"does not say what its samples are like.* --rounds N"):
        raydl.load(older)


def test_columns_of_a_classifier_and_of_anything_else():
    outputs = torch.tensor([[0.0, 1.0], [2.0, 0.0]])
    classes = Classification().predictions(outputs)
    assert classes["prediction"].tolist() == [1, 0]
    torch.testing.assert_close(classes["probabilities"].sum(1), torch.ones(2))
    assert Regression().predictions(outputs) == {"outputs": outputs}
