"""What loggers keep, in the packages' own offline modes."""

from dataclasses import replace
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import raydl
from raydl import Run, SpecError
from raydl.algorithms import FedAvg
from raydl.callbacks.loggers.logger import charts
from tests.command import refused


@pytest.fixture
def spec(tmp_path) -> Run:
    return Run(
        clients=20,
        rounds=3,
        runtime="sequential",
        storage=str(tmp_path / "runs"),
        name="a",
        log="none",
    )


def logged(spec: Run, word: str) -> Run:
    return replace(spec, log=word)


@pytest.mark.pictures
def test_none(spec):
    folder = Path(raydl.run(spec).path)
    names = {each.name for each in folder.iterdir()}
    assert names == {
        *("best", "checkpoints", "curves.png", "metrics.parquet", "predictions.png", "run.yaml"),
        "summary.json",
    }


def test_an_unknown_one_is_refused():
    with pytest.raises(SpecError, match="did you mean 'tensorboard'"):
        Run(log="tensorbord")
    assert "unknown logger 'x'" in refused("run", "--log", "csv,x")
    assert Run(log=["CSV", "wandb"]).loggers == ["csv", "wandb"]
    assert Run(log=None).loggers == []


def test_tensorboard_shows_what_matters_first(spec):
    history = raydl.run(logged(spec, "tensorboard"))
    board = EventAccumulator(history.path, size_guidance={"tensors": 0}).Reload()
    tags = sorted(board.Tags()["scalars"])
    assert tags[:5] == [
        *("accuracy/test", "accuracy/training", "accuracy/validation", "loss/test"),
        "loss/training",
    ]
    (card,) = board.Tensors("settings/text_summary")
    assert b"| algorithm.lr | 0.1 |" in card.tensor_proto.string_val[0]


def test_tensorboard_lists_the_settings_that_were_set_first(spec):
    history = raydl.run(replace(logged(spec, "tensorboard"), algorithm=FedAvg(lr=0.2)))
    board = EventAccumulator(history.path).Reload()
    packed = board.SummaryMetadata("_hparams_/experiment").plugin_data.content
    experiment = HParamsPluginData.FromString(packed).experiment
    assert {each.name for each in experiment.hparam_infos if each.differs} == {
        *("algorithm.lr", "clients"),
    }
    assert [each.name.tag for each in experiment.metric_infos][:2] == [
        *("accuracy/test", "accuracy/validation"),
    ]


def test_charts_of_a_row():
    row = {"round": 2, "val_accuracy": 0.5, "samples": 30, "wall_seconds": 3.0, "lost": None}
    row |= {"late": 0, "dropped": 2}
    before = {"round": 1, "samples": 10, "wall_seconds": 1.0}
    assert charts(row, before, 0.1) == {
        "accuracy/validation": 0.5,
        "totals/samples": 30.0,
        "run/dropped": 2.0,
        "run/wall_seconds": 3.0,
        "run/learning_rate": 0.1,
        "run/seconds_per_round": 2.0,
        "run/samples_per_second": 10.0,
    }
    assert "run/seconds_per_round" not in charts(row | {"round": 5}, before, None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of what MLflow stands on
def test_mlflow(spec, tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(None)
    run = logged(spec, "mlflow")
    history = raydl.run(run)
    client = mlflow.MlflowClient()
    (experiment,) = [each for each in client.search_experiments() if each.name == "raydl"]
    (kept,) = client.search_runs([experiment.experiment_id])
    assert (kept.info.run_name, kept.info.status) == ("a", "FINISHED")
    assert kept.data.params["algorithm.lr"] == "0.1"
    points = client.get_metric_history(kept.info.run_id, "accuracy/validation")
    assert [each.step for each in points] == [1, 2, 3]
    assert [each.value for each in points] == history.table["val_accuracy"].tolist()
    assert kept.data.metrics["summary/test_accuracy"] == history.summary["test_accuracy"]
    raydl.run(replace(run, rounds=4), resume=True)
    (kept,) = client.search_runs([experiment.experiment_id])
    assert kept.data.metrics["summary/rounds"] == 4


def test_wandb(spec, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = Path(raydl.run(logged(spec, "wandb")).path)
    (kept,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    content = kept.read_bytes()
    assert b"accuracy/validation" in content
    assert b"test_accuracy" in content


@pytest.mark.parametrize("word", ["mlflow", "wandb"])
def test_a_missing_package_is_refused_before_any_work(spec, word, monkeypatch):
    monkeypatch.setattr("raydl.core.environment.extras.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=rf"--log {word} is given.*'raydl\[{word}\]'"):
        raydl.run(logged(spec, word))
    assert not Path(spec.storage).exists()
