import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from raydl import Callback, Checkpointing, Evaluation, Model, Run, SpecError, run
from raydl.algorithms import FedAvg, FedSGD
from raydl.assembly.assemble import assemble
from raydl.config import options
from raydl.core import tree
from raydl.core.grad import parameters
from raydl.core.task import Task
from raydl.data import CropFlip, Natural, Synthetic, Tensors, Uniform
from raydl.data.batches import Preparation
from raydl.round import NonFiniteError
from raydl.run_folder.resumption import read_settings
from raydl.runtimes.auto import Auto
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.worker.evaluation import evaluate
from raydl.storage import Folder
from raydl.tasks import Classification
from tests.command import raydl, summary


@pytest.fixture
def spec(tmp_path) -> Run:
    return Run(
        algorithm=FedAvg(epochs=1, batch_size=16),
        participation=Uniform(0.2),
        model=Model("MLP", {"hidden": [16]}),
        runtime=Sequential(),
        clients=20,
        rounds=4,
        storage=str(tmp_path),
        name="a",
    )


def test_what_a_history_says(spec):
    history = run(spec)
    assert history.path == f"{spec.storage}/a"
    assert history.summary["fingerprint"] == tree.fingerprint(history.params)
    dataset = spec.data.load()
    model = spec.model.build(dataset.shape, dataset.classes)
    score = evaluate(
        Task(model, Classification()),
        history.params,
        dataset.test,
        Preparation.of(dataset, torch.device("cpu")),
    )
    assert history.summary["test_accuracy"] == score.metrics(Classification())["accuracy"]
    assert isinstance(history.table, pd.DataFrame)
    assert len(history.table) == 4


def test_first_parameters_are_those_of_torch_manual_seed(spec):
    setup = assemble(replace(spec, seed=3))
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        expected = parameters(spec.model.build((1, 8, 8), 10))
    assert tree.fingerprint(setup.params) == tree.fingerprint(expected)


def test_a_run_is_a_function_of_its_seed(spec):
    torch.manual_seed(1)
    first = run(spec)
    torch.manual_seed(2)
    torch.rand(5)
    before = torch.random.get_rng_state()
    again = run(replace(spec, name="b"))
    assert torch.equal(torch.random.get_rng_state(), before)  # the user's draws are left alone
    other = run(replace(spec, name="c", seed=1))
    assert first.summary["fingerprint"] == again.summary["fingerprint"]
    assert first.summary["fingerprint"] != other.summary["fingerprint"]


def test_batched_agrees_with_sequential(spec):
    spec = replace(spec, rounds=5)
    batched = run(replace(spec, runtime=Batched(), name="b"))
    sequential = run(spec)
    start = assemble(spec).params
    apart, way = (
        sum(float(leaf.double().square().sum()) for _, leaf in tree.leaves(each)) ** 0.5
        for each in (
            tree.sub(batched.params, sequential.params),
            tree.sub(sequential.params, start),
        )
    )
    assert apart < 1e-4 * way


def test_when_the_model_is_scored(spec):
    table = run(replace(spec, rounds=5, evaluation=Evaluation(every=2))).table
    assert table["val_accuracy"].notna().tolist() == [False, True, False, True, True]
    assert table["test_accuracy"].notna().tolist() == [False] * 4 + [True]
    each = run(replace(spec, name="each", evaluation=Evaluation(test="each"))).table
    assert each["test_accuracy"].notna().all()
    plain = run(replace(spec, name="plain"))
    assert each["test_accuracy"].iloc[-1] == plain.summary["test_accuracy"]


def test_an_observer_sees_every_round(spec):
    seen = []

    class Witness(Callback):
        def on_start(self, run, problem, folder):
            seen.append((run.model.name, len(problem.partition), folder.uri))

        def on_round(self, row):
            seen.append((row["round"], row["val_accuracy"] is not None))

    run(replace(spec, model=None), callback=Witness())
    assert seen == [("MLP", 20, f"{spec.storage}/a"), *((number, True) for number in (1, 2, 3, 4))]


def test_checkpoints_fall_when_they_should(spec):
    kept = {}

    class Witness(Callback):
        def on_round(self, row):
            kept[row["round"]] = sorted(
                int(each.name) for each in Path(spec.storage, "a/checkpoints").glob("*")
            )

    run(replace(spec, rounds=7, checkpoint=Checkpointing(every=3, keep=2)), callback=Witness())
    # A round that is to be written down is, when it is reported.
    assert kept == {1: [], 2: [], 3: [3], 4: [3], 5: [3], 6: [3, 6], 7: [6, 7]}
    assert [each.name for each in sorted(Path(spec.storage, "a/checkpoints").iterdir())] == [
        "000006",
        "000007",
    ]


DIVERGING = ("--algorithm.lr", "1e20", "--model", "MLP", "--algorithm.epochs", 3)


def test_a_diverging_client_is_named(tmp_path):
    ended = raydl("run", "--runtime=sequential", *DIVERGING, "--storage", tmp_path, "--name", "a")
    assert ended.code == 1
    assert ended.err.startswith("raydl: round 1: the update of client ")
    assert "NaN or an infinity" in ended.err
    assert "--on_nonfinite drop" in ended.err
    assert "Traceback" not in ended.err
    cohort = next(Run().cohorts())
    named = ended.err.partition("client ")[2].partition(" holds")[0].split(", ")
    assert sorted(map(int, named)) == sorted(cohort.tolist())


@pytest.mark.parametrize("runtime", [Sequential(), Batched()])
def test_the_failing_client_alone_is_named_or_dropped(spec, runtime):
    inputs = torch.linspace(-1, 1, 160).view(40, 4)
    owners = torch.arange(40) // 10
    inputs[owners == 2] = torch.inf
    data = Tensors(inputs, torch.arange(40) % 3, owners=owners, validation=0.0, test=0.1)
    spec = replace(
        spec,
        data=data,
        partition=Natural(),
        participation=Uniform(1.0),
        algorithm=FedSGD(lr=1.0),
        model=Model("Softmax"),
        clients=4,
        rounds=2,
        runtime=runtime,
    )
    with pytest.raises(NonFiniteError, match="round 1: the update of client 2 holds"):
        run(spec)
    history = run(replace(spec, on_nonfinite="drop", name="b"))
    assert history.table["dropped"].tolist() == [1, 1]
    assert history.table["train_loss"].notna().all()
    assert all(leaf.isfinite().all() for _, leaf in tree.leaves(history.params))


def test_if_every_update_is_dropped_the_model_stays_as_it_was(tmp_path):
    ended = raydl(
        *("run", "--runtime=sequential", *DIVERGING, "--storage", tmp_path, "--name", "a"),
        *("--on_nonfinite", "drop", "--rounds", 2),
    )
    assert ended.code == 0, ended.err
    written = summary(tmp_path / "a")
    assert written["dropped"] == 10
    assert written["train_loss"] is None
    json.loads((tmp_path / "a/summary.json").read_text(), parse_constant=pytest.fail)
    spec = Run(runtime=Sequential(), storage=str(tmp_path))
    assert written["fingerprint"] == tree.fingerprint(assemble(spec).params)


def test_an_augmentation_that_does_not_fit_the_data_is_refused_before_any_work(spec):
    data = Tensors(torch.randn(40, 4), torch.arange(40) % 2)
    with pytest.raises(SpecError, match="CropFlip"):
        run(replace(spec, data=data, augmentation=CropFlip()))
    assert list(Path(spec.storage).iterdir()) == []


def test_auto_batches_a_small_dense_model_and_many_clients(spec):
    spec = replace(
        spec,
        data=Synthetic(samples=4000, test=100),
        participation=Uniform(0.1),
        model=Model("Softmax"),
        clients=400,
    )
    assert Auto().resolve(assemble(spec).problem, spec.cohorts(), rounds=10).runtime == Batched()


def test_the_choice_of_auto_is_told_and_written_down_and_changes_no_number(spec):
    told = []

    class Witness(Callback):
        def on_runtime(self, reason):
            told.append(reason)

        def on_start(self, run, problem, folder):
            told.append(run.runtime)

    auto = run(replace(spec, runtime=Auto()), callback=Witness())
    reason, chosen = told
    assert reason.startswith(f"{chosen}: a block of 1 takes ")
    written = read_settings(Folder(auto.path))["runtime"]
    assert written["name"] in ("sequential", "batched")
    assert options.from_mapping({"runtime": written}).runtime == chosen
    named = run(replace(spec, runtime=chosen, name="b"))
    assert auto.summary["fingerprint"] == named.summary["fingerprint"]
