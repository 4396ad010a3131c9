"""Processes that synchronize by all-reduce: the numbers of every other runtime; under Ray Train."""

import signal
from dataclasses import replace

import pytest

import raydl
from raydl import Callback, Model, Run
from raydl.algorithms import FedAvg, HierarchicalLocalSGD, LocalSGD, ParameterServer, SlowMo
from raydl.core import tree
from raydl.data import Uniform
from raydl.optim import SGD
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.runtimes.local.spec import Sequential
from raydl.signals import Interrupted
from tests.processes import Processes

METHODS = {
    "SlowMo": SlowMo(3, SGD(momentum=0.9), batch_size=16, steps=8, at_sync="average"),
    "hierarchical": HierarchicalLocalSGD(4, SGD(momentum=0.9), batch_size=16, steps=8),
    "server": ParameterServer(4, SGD(momentum=0.9), batch_size=16, exchanges=1),
    "FedAvg": FedAvg(batch_size=16, epochs=1),
}
WORKERS = LocalSGD(2, SGD(momentum=0.9), batch_size=32, steps=4)


class Stopper(Callback):
    def on_round(self, row):
        if row["round"] == 3:
            signal.raise_signal(signal.SIGTERM)


def spec(storage, algorithm, **changes):
    mlp = Model("MLP", {"hidden": [16]})
    return Run(algorithm=algorithm, model=mlp, epochs=2, storage=str(storage), **changes)


def apart(history, expected):
    """The distance of two runs' parameters, relative to their length."""
    return max(
        float((leaf - other).norm() / other.norm())
        for (_, leaf), (_, other) in zip(
            tree.leaves(history.params), tree.leaves(expected.params), strict=True
        )
    )


@pytest.mark.parametrize("name", METHODS)
def test_it_is_the_sequential_run(tmp_path, name):
    """Also where only some clients take part, and where a process has none of them."""
    partly = {"participation": Uniform(0.03)} if name == "FedAvg" else {}
    run = spec(tmp_path, METHODS[name], rounds=6, **partly)
    expected = raydl.run(replace(run, name="sequential", runtime=Sequential()))
    history = raydl.run(replace(run, name="allreduce", runtime=Processes(workers=2)))
    assert apart(history, expected) < 1e-5
    same = ["round", "samples", "local_steps", "val_accuracy"]
    assert history.table[same].equals(expected.table[same])
    first, starlike = history.table.iloc[0], expected.table.iloc[0]
    assert first.messages == 4  # of a ring of 2, which sends all of it twice
    groups = getattr(METHODS[name], "groups", 1)  # everyone is sent what each of them made
    reduced = groups * starlike.bytes_up / starlike.clients
    assert 2 * reduced < first.bytes_up < 2 * reduced + 1000  # and the clients' columns


@pytest.mark.usefixtures("cluster")
def test_a_stopped_run_goes_on_to_the_same_end(tmp_path):
    run = spec(tmp_path, WORKERS, runtime=AllReduce(workers=2), name="stopped")
    run = replace(run, epochs=100)  # long enough for the driver to hear of it and answer
    whole = raydl.run(replace(run, name="whole", runtime=Sequential()))
    with pytest.raises(Interrupted) as stopped:
        raydl.run(run, callback=Stopper())
    assert stopped.value.code == 143
    assert 3 <= stopped.value.round < len(whole.table)
    history = raydl.run(replace(run, runtime=Processes(workers=1)), resume=True)
    assert apart(history, whole) < 1e-5
    assert len(history.table) == len(whole.table)
