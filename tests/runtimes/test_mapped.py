"""Runs on samples in mapped files: the numbers of tensors in memory; what is sent of them."""

import pickle
import shutil
import subprocess
import sys

import pytest
import ray
import torch
from torch import nn

import raydl
from raydl import Callback, Model, Run, SpecError
from raydl.algorithms import LocalSGD, ParameterServer
from raydl.core.algorithm import Plan
from raydl.data import CropFlip, Dataset, Prepared, Split, prepare
from raydl.data.prepared.mapping import Place
from raydl.data.prepared.rows import Rows
from raydl.optim.schedule import Constant
from raydl.runtimes import Actors, AllReduce, Sequential, ShardedServer
from raydl.runtimes.ray_cluster.problem_store import attach_problem, share_problem
from tests.federation import digits, federation, final, fingerprints, keeping, mlp, train


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Prepared:
    """The federation's digits in many small shards."""
    folder = tmp_path_factory.mktemp("digits")
    prepare(digits(), str(folder), 4000)
    return Prepared(str(folder))


def test_a_runtime_gives_the_same_numbers(runtime, prepared):
    ends = []
    for dataset in (digits(), prepared.load()):
        algorithm, model = keeping(Plan(16, epochs=2), lr=0.02), mlp(digits(), dropout=0.3)
        problem = federation(algorithm, model, dataset, augmentation=CropFlip(), block_size=3)
        opened = runtime(problem)
        history = train(problem, opened, 3)
        params, spec = final(problem, history), problem.task.spec
        scores = [opened.evaluate(params, part)().metrics(spec) for part in ("train", "test")]
        ends.append((fingerprints(history), scores))
    assert ends[0] == ends[1]


class NextToken(nn.Module):
    """Guesses the next of 40 tokens from this one: [B, T] to [B, T, 40]."""

    def __init__(self, shape, classes) -> None:
        super().__init__()
        self._table = nn.Embedding(classes, classes)

    def forward(self, tokens):
        return self._table(tokens)


def test_sequences_are_mapped_with_their_targets(tmp_path):
    """Targets as large as the inputs; the smallest and the largest token lie in the test set."""
    inputs = torch.randint(1, 39, (200, 6), generator=torch.Generator().manual_seed(0))
    inputs[-1, 2], inputs[-2, 4] = 0, 39
    every = Split(inputs, inputs.roll(-1, 1))
    parts = [every.take(torch.arange(*each)) for each in ((0, 150), (150, 160), (160, 200))]
    written = Dataset("tokens", *parts, classes=40)
    prepare(written, str(tmp_path / "tokens"), 2000)
    mapped = Prepared(str(tmp_path / "tokens")).load()
    assert isinstance(mapped.train.targets, Rows)
    ends = []
    for dataset in (written, mapped):
        run = Run(
            model=Model(NextToken),
            clients=5,
            rounds=2,
            runtime=Sequential(),
            storage=str(tmp_path / "runs"),
        )
        ends.append(raydl.run(run, dataset=dataset).summary)
    for name in ("fingerprint", "val_loss", "test_accuracy"):
        assert ends[0][name] == ends[1][name]


@pytest.mark.usefixtures("cluster")
def test_of_mapped_samples_the_place_is_sent(prepared):
    problem = federation(keeping(Plan(16, epochs=1)), dataset=prepared.load())
    without, arrays = ray.get([*share_problem(problem)])
    places = [arrays[f"{part}/inputs"] for part in ("train", "validation", "test")]
    assert [type(each) for each in places] == [Place] * 3
    assert sum(len(pickle.dumps(each)) for each in places) < 1500
    attached = attach_problem(without, arrays).dataset
    assert attached.train.inputs.stored.place == places[0]
    assert torch.equal(attached.train.inputs[:], digits().train.inputs)


class Remover(Callback):
    """Takes the data away between the driver's look at it and the workers'."""

    def __init__(self, folder) -> None:
        self._folder = folder

    def on_start(self, run, problem, folder):
        shutil.rmtree(self._folder)


SERVED = ParameterServer(2, batch_size=8, exchanges=2)
LOCAL = LocalSGD(workers=2, steps=2, batch_size=8, schedule=Constant())


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize(
    ("algorithm", "runtime"),
    [(LOCAL, Actors(workers=2)), (LOCAL, AllReduce()), (SERVED, ShardedServer())],
    ids=["actors", "allreduce", "parameter_server"],
)
def test_a_node_without_the_files_is_told_in_words(algorithm, runtime, tmp_path):
    folder = tmp_path / "data"
    prepare(digits(), str(folder))
    run = Run(
        algorithm,
        Prepared(str(folder)),
        model=Model("Softmax"),
        runtime=runtime,
        rounds=1,
        storage=str(tmp_path / "runs"),
    )
    with pytest.raises(SpecError, match=r"no dataset\.json.*where the run has a worker") as told:
        raydl.run(run, callback=Remover(folder))
    assert "Traceback" not in str(told.value)


MEMORY = """
import sys
from pathlib import Path

import raydl
from raydl import Callback
from raydl.algorithms import FedAvg
from raydl.data import Prepared
from raydl.runtimes import Sequential
from tests.benchmarks.mapped import anonymous

class Held(Callback):
    held = []
    def on_round(self, row):
        self.held.append(anonymous())

run = raydl.Run(
    FedAvg(lr=0.01, batch_size=64), Prepared(sys.argv[1]), clients=32, model="Softmax", rounds=64,
    runtime=Sequential(), storage=sys.argv[2],
)
raydl.run(run, callback=Held())
print(max(Held.held) - Held.held[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's own account of memory")
def test_memory_does_not_grow_with_the_data(tmp_path):
    """While training goes over 100 MB: what the kernel keeps of files counts as its own memory."""
    from tests.benchmarks.mapped import Noise

    source = Noise(pieces=8)
    prepare(source, str(tmp_path / "data"), 1 << 24)
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, str(tmp_path / "data"), str(tmp_path / "runs")],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 10 << 20
