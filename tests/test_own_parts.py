"""Own sources, partitions, participations and augmentations: plain classes, or functions."""

from dataclasses import replace
from itertools import repeat
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset, TensorDataset

from raydl import Checkpointing, Model, Run, SpecError, run
from raydl.algorithms import FedAvg
from raydl.assembly.assemble import assemble
from raydl.data import Partition, Tensors, TorchDataset
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import Sequential
from raydl.tasks import TaskSpec
from tests.command import raydl, refused, summary

X = torch.rand(60, 6, generator=torch.Generator().manual_seed(0))
Y = torch.arange(60) % 3


class Source:
    def __init__(self, samples: int) -> None:
        self.samples = samples
        self._opened = object()

    def load(self):
        return X[: self.samples].numpy(), Y[: self.samples]


class Blocks:
    def __init__(self, first: int = 0) -> None:
        self.first = first

    def assign(self, labels, clients, seed, owners=None):
        sizes = np.full(clients, (len(labels) - self.first) // clients)
        return Partition.cut(np.arange(self.first, self.first + sizes.sum()), sizes)


class First:
    def cohorts(self, clients, seed):
        return repeat([0, 1])


class Doubled:
    def __call__(self, inputs, generator):
        return 2 * inputs


def source():
    return X.numpy(), Y


def blocks(labels, clients, seed, owners):
    return Blocks().assign(labels, clients, seed, owners)


def first(clients, seed):
    while True:
        yield np.array([0, 1])


def doubled(inputs, generator):
    return inputs * 2


CLASSES = {
    "data": Source(60),
    "partition": Blocks(),
    "participation": First(),
    "augmentation": Doubled(),
}
FUNCTIONS = {
    "data": source,
    "partition": blocks,
    "participation": first,
    "augmentation": doubled,
}


def spec(storage: Path, name: str = "run", **fields: object) -> Run:
    usual = {
        "algorithm": FedAvg(batch_size=5, epochs=1),
        "model": Model("MLP", {"hidden": [4]}),
        "clients": 4,
        "rounds": 2,
        "runtime": Sequential(),
        "storage": storage,
        "name": name,
    }
    return Run(**usual | fields)


def test_classes_and_functions_give_the_same_numbers_everywhere(tmp_path, cluster):
    runs = [
        run(spec(tmp_path, "classes", **CLASSES)),
        run(spec(tmp_path, "functions", **FUNCTIONS)),
        run(spec(tmp_path, "actors", **CLASSES, runtime=Actors(workers=2))),
        run(spec(tmp_path, "functions-actors", **FUNCTIONS, runtime=Actors(workers=2))),
    ]
    assert len({each.summary["fingerprint"] for each in runs}) == 1
    told = yaml.safe_load((tmp_path / "classes/run.yaml").read_text())
    assert told["data"] == {"name": "tests.test_own_parts:Source", "samples": 60}
    assert told["partition"] == {"name": "tests.test_own_parts:Blocks", "first": 0}
    assert told["participation"] == {"name": "tests.test_own_parts:First"}
    told = yaml.safe_load((tmp_path / "functions/run.yaml").read_text())
    assert told["augmentation"] == {"name": "tests.test_own_parts:doubled"}


def test_a_run_is_resumed_with_the_attributes_that_it_began_with(tmp_path):
    run(spec(tmp_path, **CLASSES))
    longer = spec(tmp_path, **CLASSES, rounds=3)
    with pytest.raises(SpecError, match=r"partition\.first: 0 then, 3 now"):
        run(replace(longer, partition=Blocks(3)), resume=True)
    assert len(run(longer, resume=True).table) == 3


def test_functions_by_their_names_on_the_command_line(tmp_path):
    named = [f"--{name}=tests.test_own_parts:{each.__name__}" for name, each in FUNCTIONS.items()]
    options = ["--clients=4", "--rounds=1", "--runtime=sequential", f"--storage={tmp_path}"]
    assert raydl("run", *named, *options, "--name", "words").code == 0
    assert raydl("run", "--resume", tmp_path / "words", "--rounds", 2).code == 0
    drawn = raydl("data", "show", *named, "--clients=4", "--output", tmp_path)
    assert "participation.png" not in drawn.out  # nobody knows the probabilities
    assert (tmp_path / "partition.png").exists()


def test_classes_by_their_names_on_the_command_line(tmp_path):
    """Which are the runs of their objects."""
    names = {name: type(each).__name__ for name, each in CLASSES.items()}
    named = [f"--{name}=tests.test_own_parts:{each}" for name, each in names.items()]
    asked = ["--data.samples=60", "--algorithm.epochs=1", "--batch_size=5"]
    options = ["--clients=4", "--rounds=2", "--runtime=sequential", f"--storage={tmp_path}"]
    model = ["--model=MLP", "--model.hidden=[4]"]
    assert raydl("run", *named, *asked, *model, *options, "--name", "words").code == 0
    run(spec(tmp_path, "objects", **CLASSES))
    assert len({summary(tmp_path / each)["fingerprint"] for each in ("words", "objects")}) == 1
    assert raydl("run", "--resume", tmp_path / "words", "--rounds", 3).code == 0


class Pairs(Dataset):
    def __len__(self):
        return 60

    def __getitem__(self, number):
        return X[number], int(Y[number])


@pytest.mark.parametrize(
    "gives",
    [
        lambda: (pd.DataFrame(X.numpy()), pd.Series(Y.numpy())),
        Pairs,
        lambda: TorchDataset(Pairs()),
        lambda: TensorDataset(X, Y),
    ],
    ids=["pandas", "torch's", "a source", "TensorDataset"],
)
def test_a_source_gives_what_data_may_be(tmp_path, gives):
    def source():
        return gives()

    given = [run(spec(tmp_path, "source", data=source)), run(spec(tmp_path, "data", data=gives()))]
    given.append(run(spec(tmp_path, "tensors", data=(X, Y))))
    assert len({each.summary["fingerprint"] for each in given}) == 1


def test_a_data_set_in_memory_is_told_by_what_it_is(tmp_path):
    given = spec(tmp_path, data=Pairs())
    run(given)
    told = yaml.safe_load((tmp_path / "run/run.yaml").read_text())["data"]
    assert told["dataset"] == "<Pairs of 60 samples>"
    assert "in Python" in refused("run", "--resume", tmp_path / "run", "--rounds", 3)
    assert len(run(replace(given, rounds=3), resume=True).table) == 3


def test_a_participation_that_ends_is_told_before_any_work(tmp_path):
    ending = type("Ending", (), {"cohorts": lambda self, clients, seed: iter([[0]])})()
    with pytest.raises(SpecError, match=r"ended after 1 rounds"):
        run(spec(tmp_path, participation=ending))
    assert list(tmp_path.iterdir()) == []


def breaks(inputs, generator):
    """On the first minibatch of the training, not in the trial of two samples."""
    if len(inputs) > 2:
        raise ZeroDivisionError("in the first round")
    return inputs


def test_a_run_that_did_no_round_does_not_hold_its_name(tmp_path):
    broken = spec(tmp_path, **FUNCTIONS | {"augmentation": breaks})
    with pytest.raises(ZeroDivisionError) as error:
        run(broken)
    assert list(tmp_path.iterdir()) == []
    assert not hasattr(error.value, "__notes__")
    run(replace(broken, augmentation=doubled))


def test_what_else_is_in_the_folder_stays(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/notes.txt").write_text("mine")
    with pytest.raises(ZeroDivisionError):
        run(spec(tmp_path, **FUNCTIONS | {"augmentation": breaks}))
    assert [each.name for each in (tmp_path / "run").iterdir()] == ["notes.txt"]


def test_a_run_that_fails_later_says_how_to_go_on(tmp_path):
    class Later(Doubled):
        calls = 0

        def __call__(self, inputs, generator):
            self.calls += 1
            if self.calls > 20:
                raise ZeroDivisionError("in a later round")
            return inputs

    fields = CLASSES | {"augmentation": Later(), "checkpoint": Checkpointing(every=1)}
    with pytest.raises(ZeroDivisionError) as error:
        run(spec(tmp_path, **fields, rounds=30))
    assert error.value.__notes__ == [
        "go on with: raydl.run(spec, resume=True) in Python, with the spec that it began with"
    ]
    assert (tmp_path / "run/run.yaml").exists()


def test_the_advice_for_a_name_that_is_taken(tmp_path):
    for name, fields, advice in (
        ("words", {}, f"raydl run --resume '{tmp_path}/a b/words'"),
        ("tensors", {"data": Tensors(X, Y)}, r"raydl.run\(spec, resume=True\) in Python"),
        ("function", {"model": Model(Net, {"act": torch.relu})}, ".*in Python"),
    ):
        taken = spec(tmp_path / "a b", name, **fields, rounds=1)
        run(taken)
        with pytest.raises(SpecError, match=f"go on with it: {advice}"):
            run(taken)
    for name in ("tensors", "function"):
        said = refused("run", "--resume", tmp_path / "a b" / name, "--rounds", 2)
        assert "go on with it by raydl.run(spec, resume=True) in Python" in said
    assert raydl("run", "--resume", tmp_path / "a b/words", "--rounds", 2).code == 0


class Net(torch.nn.Sequential):
    def __init__(self, classes, act):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(64, classes))


class Mean(TaskSpec):
    def losses(self, outputs, targets):
        return cross_entropy(outputs, targets)


class Shadow(TaskSpec):
    def losses(self, outputs, targets):
        return cross_entropy(outputs, targets, reduction="none")

    def scores(self, outputs, targets):
        return {"loss": targets.float()}


class Total(Shadow):
    def scores(self, outputs, targets):
        return {"hits": (outputs.argmax(1) == targets).float().sum()}


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (Mean(), r"the shape of task Mean's losses is \(\); it must be \(2,\), .*reduction='none'"),
        (cross_entropy, r"the shape of task LossFunction's losses is \(\); it must be \(2,\)"),
        (Total(), r"the shape of task Total's hits is \(\); it must be \(2,\)"),
        (Shadow(), r"a score of task Shadow is 'loss'; it must be called otherwise"),
    ],
)
def test_a_task_that_says_too_little_is_refused(task, told):
    with pytest.raises(SpecError, match=told):
        assemble(Run(task=task, runtime="sequential"))
