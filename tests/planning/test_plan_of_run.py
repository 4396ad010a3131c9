"""A plan's messages and bytes are those that the run itself recorded."""

from dataclasses import replace

import pandas as pd
import pytest
import torch
from torch import nn

import raydl
from raydl import Model, Run
from raydl.algorithms import (
    DataParallel,
    DiLoCo,
    FedAvg,
    FedSGD,
    HierarchicalLocalSGD,
    LocalSGD,
    ParameterServer,
    SlowMo,
)
from raydl.algorithms.distributed.intervals import Growing, PostLocal
from raydl.core import tree
from raydl.core.errors import SpecError
from raydl.data import QuantitySkew, Skewed, Uniform
from raydl.optim import SGD, AdamW
from raydl.planning import Circumstances, of_run
from raydl.run_folder import checkpoint
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.spec import Sequential
from raydl.storage import Folder
from tests.processes import Processes


def normed(classes: int) -> nn.Module:
    """A model with running statistics, which travel beside its parameters."""
    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, classes))


FEDERATED = {
    "clients": 20,
    "partition": QuantitySkew(alpha=1.0, min_size=3),
    "participation": Uniform(0.3),
}
MOMENTUM, SMALL = SGD(momentum=0.9), {"batch_size": 16, "steps": 4}
RUNS = {
    "FedAvg": Run(FedAvg(batch_size=16, epochs=2), rounds=3, **FEDERATED),
    "FedAvg, epochs": Run(FedAvg(batch_size=16, epochs=2), epochs=1.9, **FEDERATED),
    "FedAvg, steps": Run(FedAvg(batch_size=7, steps=3), epochs=1, **FEDERATED),
    "FedAvg, skewed": Run(
        FedAvg(epochs=1), epochs=0.5, clients=30, participation=Skewed(fraction=0.2)
    ),
    "FedSGD": Run(FedSGD(), rounds=3, **FEDERATED),
    "FedSGD, weights": Run(FedSGD(send="weights"), epochs=2, **FEDERATED),
    "FedSGD, statistics": Run(FedSGD(), rounds=2, model=Model(normed), **FEDERATED),
    "FedAvg, statistics": Run(
        FedAvg(epochs=1, drop_last=True), rounds=2, model=Model(normed), **FEDERATED
    ),
    "LocalSGD": Run(LocalSGD(4, MOMENTUM, **SMALL), epochs=2),
    "LocalSGD, reset": Run(LocalSGD(3, MOMENTUM, at_sync="reset", **SMALL), epochs=1.5),
    "LocalSGD, AdamW": Run(LocalSGD(2, AdamW(), at_sync="average", **SMALL), epochs=1),
    "LocalSGD, post-local": Run(LocalSGD(4, interval=PostLocal(), **SMALL), epochs=3),
    "LocalSGD, growing": Run(LocalSGD(4, interval=Growing(), **SMALL), epochs=3),
    "SlowMo": Run(SlowMo(3, MOMENTUM, at_sync="average", **SMALL), epochs=2),
    "hierarchical": Run(HierarchicalLocalSGD(4, MOMENTUM, at_sync="average", **SMALL), epochs=2),
    "DataParallel": Run(DataParallel(), epochs=2),
    "ParameterServer": Run(ParameterServer(3, batch_size=16), epochs=2),
    "ParameterServer, rounds": Run(ParameterServer(3, batch_size=16, steps=2), rounds=2),
    "DiLoCo": Run(DiLoCo(2, **SMALL), rounds=3, epochs=5),
}


def recorded(run: Run, folder) -> tuple[pd.Series, pd.Series]:
    """The first and the last row of the record of a run that is really done."""
    history = raydl.run(replace(run, storage=str(folder), name="run"))
    table = pd.read_parquet(folder / "run/metrics.parquet")
    assert len(table) == history.summary["rounds"]
    return table.iloc[0], table.iloc[-1]


@pytest.mark.parametrize("name", RUNS)
def test_a_plan_is_what_the_run_recorded(tmp_path, name):
    run = replace(RUNS[name], runtime=Sequential())
    first, last = recorded(run, tmp_path)
    (forecast,) = of_run(run).forecasts.values()
    figures = forecast.figures(Circumstances())
    assert figures["rounds"] == last["round"]
    for column in ("messages", "bytes_down", "bytes_up"):
        assert figures[column] == last[column]
    assert figures["workers_per_round"] == first["clients"]
    assert figures["messages_per_round"] == first["messages"]
    assert figures["bytes_server_sends"] == first["bytes_down"]
    assert figures["bytes_server_receives"] == first["bytes_up"]
    if run.workers is not None:
        assert forecast.local_steps * run.workers == last["local_steps"]


@pytest.mark.parametrize("name", ["FedAvg, epochs", "hierarchical", "DataParallel"])
def test_a_plan_of_an_all_reduce_is_what_the_run_recorded(tmp_path, name):
    run = replace(RUNS[name], runtime=Processes(workers=2))
    first, last = recorded(run, tmp_path)
    (forecast,) = of_run(run).forecasts.values()
    figures = forecast.figures(Circumstances())
    assert figures["rounds"] == last["round"]
    for column in ("messages", "bytes_down", "bytes_up"):
        assert figures[column] == last[column]
    assert figures["messages_per_round"] == first["messages"]
    assert 2 * figures["bytes_worker_sends"] == first["bytes_up"]


@pytest.mark.parametrize("name", ["FedAvg", "LocalSGD"])
def test_a_plan_says_what_clients_keep(tmp_path, name):
    """Once each of them took part: what a checkpoint has of it."""
    run = replace(RUNS[name], runtime=Sequential(), participation=Uniform())
    (forecast,) = of_run(run).forecasts.values()
    recorded(run, tmp_path)
    saved = checkpoint.newest(Folder(str(tmp_path / "run")))
    kept = tree.nbytes(saved.runtime.clients.columns)
    assert forecast.figures(Circumstances())["bytes_client_state"] == kept
    assert bool(kept) == (name != "FedAvg")


def test_the_time_of_a_plan_counts_the_slowest_client():
    run = RUNS["LocalSGD"]
    (forecast,) = of_run(run).forecasts.values()
    quick, slow = Circumstances(), Circumstances(step_seconds=0.5)
    seconds = [forecast.figures(each)["seconds"] for each in (quick, slow)]
    assert seconds[1] - seconds[0] == pytest.approx(0.5 * forecast.local_steps)
    assert forecast.figures(slow)["bottleneck"] == "computation"


def test_a_process_of_an_all_reduce_trains_its_clients_one_after_another():
    run = RUNS["LocalSGD"]  # of 4 workers
    (alone,) = of_run(run).forecasts.values()
    (shared,) = of_run(replace(run, runtime=AllReduce(workers=2))).forecasts.values()
    assert shared.rounds == alone.rounds
    assert shared.local_steps == 2 * alone.local_steps


def test_planning_leaves_the_random_state_as_it_was():
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    of_run(RUNS["SlowMo"])
    assert torch.equal(torch.rand(1), expected)


def test_a_first_step_that_is_not_finite_is_refused():
    with pytest.raises(SpecError, match="lower the learning rate"):
        of_run(Run(FedAvg(lr=3e38, weight_decay=1e3)))
