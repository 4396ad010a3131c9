"""Clusters of several nodes, processes on this machine: what becomes of a run that loses one."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import psutil
import pytest
import yaml
from ray.cluster_utils import Cluster

from tests.clusters.head import head
from tests.command import Ended, done, ended, outcome, start, summary, titled
from tests.waiting import until

pytestmark = pytest.mark.nodes

STORE = 80_000_000  # bytes of objects on a node

# What clients keep, and what becomes of them, is too large for a message.
WIDE = ("--model", "MLP", "--model.hidden", "[512,256]")
MUCH = (
    *("--algorithm", "LocalSGD", "--algorithm.workers", "160", "--algorithm.steps", "1", *WIDE),
    *("--algorithm.batch_size", "4", "--rounds", "3", "--block_size", "1", "--fan_in", "160"),
)
LOCAL = (
    *("--algorithm", "LocalSGD", "--algorithm.workers", "8", "--algorithm.steps", "10", *WIDE),
    *("--rounds", "24", "--block_size", "1", "--fan_in", "4", "--checkpoint.every", "4"),
)


@pytest.fixture(scope="module")
def cluster(ray_environment) -> Iterator[Cluster]:
    """A head that trains nothing; each test adds its nodes."""
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    # That a node is gone is known after five checks, 3 s apart by default.
    checks = {"_system_config": {"health_check_period_ms": 500}}
    cluster = Cluster(initialize_head=True, head_node_args=head | checks)
    try:
        yield cluster
    finally:
        cluster.shutdown()


@contextmanager
def nodes(cluster: Cluster, number: int) -> Iterator[list[Any]]:
    """So many nodes of one CPU, until the block ends; the list may be changed."""
    started = [add(cluster) for _ in range(number)]
    cluster.wait_for_nodes()
    try:
        yield started
    finally:
        for node in started:
            cluster.remove_node(node)


def add(cluster: Cluster) -> Any:
    return cluster.add_node(num_cpus=1, object_store_memory=STORE, wait=False)


def lose(cluster: Cluster, started: list[Any]) -> None:
    """A node dies without a word."""
    cluster.remove_node(started.pop(0), allow_graceful=False)


@contextmanager
def running(cluster: Cluster, *argv: object) -> Iterator[subprocess.Popen[str]]:
    """A command that works on the cluster."""
    process = subprocess.Popen(
        [sys.executable, "-m", *map(str, argv)],
        env=os.environ | {"RAY_ADDRESS": cluster.address, "PYTHONUNBUFFERED": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def wait_for(process: subprocess.Popen[str], start: str) -> None:
    """Reads what a command prints, up to a line that starts like this."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith(start):
            return
    raise AssertionError(ended(process).err)


def finished(process: subprocess.Popen[str]) -> Ended:
    end = ended(process)
    assert end.code == 0, end.err
    return end


def works(node: Any, title: str) -> bool:
    """Whether an actor does on a node what Ray shows in a process's title."""
    (raylet,) = node.all_processes["raylet"]
    return bool(titled(psutil.Process(raylet.process.pid), title))


def test_a_run_on_actors_loses_a_node_and_gains_another(cluster, tmp_path):
    """What its clients keep is not lost with the node, and blocks are trained again."""
    hold = tmp_path / "hold"
    held = ("--augmentation", "tests.odd:Held", "--augmentation.file", hold)
    options = (*LOCAL, *held, "--storage", tmp_path)
    done("run", *options, "--runtime", "sequential", "--name", "alone")
    options = ("raydl", "run", *options, "--runtime", "actors", "--runtime.workers", "2")
    with nodes(cluster, 2) as started, running(cluster, *options, "--name", "lost") as process:
        wait_for(process, "round 10/")
        hold.touch()
        lose(cluster, started)
        started.append(add(cluster))
        until(lambda: works(started[1], "ray::BlockActor"))
        hold.unlink()
        until(lambda: works(started[1], "ray::BlockActor.train"))
        finished(process)
    assert outcome(tmp_path / "lost") == outcome(tmp_path / "alone")


def test_ray_train_goes_on_from_the_checkpoint_when_there_is_a_node_again(cluster, tmp_path):
    options = (
        *("--algorithm", "LocalSGD", "--algorithm.workers", "2", "--algorithm.steps", "20"),
        *("--rounds", "20", "--checkpoint.every", "4", "--evaluation.every", "10"),
        *("--runtime.workers", "2", "--storage", tmp_path),
    )
    done("run", *options, "--runtime", "tests.processes:Processes", "--name", "undisturbed")
    options = ("raydl", "run", *options, "--runtime", "allreduce", "--name", "lost")
    with nodes(cluster, 2) as started, running(cluster, *options) as process:
        wait_for(process, "round 10/")
        lose(cluster, started)
        started.append(add(cluster))
        finished(process)
    assert outcome(tmp_path / "lost") == outcome(tmp_path / "undisturbed")


def test_a_parameter_server_goes_on_without_the_node(cluster, tmp_path):
    """A worker is lost, and whatever shards are there; the rest goes on."""
    options = (
        *("--algorithm", "ParameterServer", "--algorithm.workers", "2"),
        *("--algorithm.exchanges", "16", "--rounds", "30", "--evaluation.every", "10"),
        *("--runtime", "parameter_server", "--runtime.shards", "2"),
        *("--storage", tmp_path, "--name", "lost"),
    )
    with (
        nodes(cluster, 2) as started,
        running(cluster, "raydl", "run", *options) as process,
    ):
        wait_for(process, "round 6/")
        lose(cluster, started)
        finished(process)
    table = pd.read_parquet(tmp_path / "lost/metrics.parquet")
    messages = table["messages"].diff().dropna()
    assert (len(table), messages.max()) == (30, 16 * 2 * 2 * 2)
    assert messages.iloc[-1] == messages.max() / 2  # of the one worker that is left
    assert summary(tmp_path / "lost")["val_accuracy"] > 0.9


def test_tune_goes_on_with_a_trial_whose_node_was_lost(cluster, tmp_path):
    run = {"rounds": 40, "clients": 10, "storage": str(tmp_path), "runtime": "sequential"}
    run |= {"algorithm": {"epochs": 3}, "checkpoint": {"every": 2}}
    space = {"algorithm.lr": {"grid": [0.1, 0.03]}}
    sweep = {"run": run, "space": space, "searcher": "grid", "name": "sweep", "seeds": 0}
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(sweep))
    trials = tmp_path / "sweep/trials"

    def saved() -> bool:
        return all((trials / f"000{number}/checkpoints").exists() for number in (0, 1))

    with (
        nodes(cluster, 2) as started,
        running(cluster, "tuning.sweep", "--config", tmp_path / "space.yaml") as process,
    ):
        until(lambda: saved() or process.poll() is not None)
        lose(cluster, started)
        finished(process)
    assert list(pd.read_parquet(tmp_path / "sweep/trials.parquet")["outcome"]) == ["finished"] * 2


def test_what_the_object_store_cannot_hold_goes_to_disk(cluster, tmp_path):
    """160 blocks' accumulators, merged all at once, are more than its 80 MB."""
    done("run", *MUCH, "--runtime", "sequential", "--storage", tmp_path, "--name", "alone")
    options = ("--runtime", "actors", "--runtime.workers", "1", "--storage", tmp_path)
    with (
        nodes(cluster, 1),
        running(cluster, "raydl", "run", *MUCH, *options, "--name", "spilled") as process,
    ):
        finished(process)
    assert outcome(tmp_path / "spilled") == outcome(tmp_path / "alone")


def test_where_the_disk_is_full_as_well_it_is_told(tmp_path):
    full = {"RAY_AUTH_MODE": "disabled", "RAY_local_fs_capacity_threshold": "0.001"}
    with head(full) as started:
        where = ("--runtime", "actors", "--runtime.workers", "1", "--runtime.address")
        run = start("run", *MUCH, *where, started.address, "--storage", tmp_path, cwd=tmp_path)
        end = ended(run)
    assert end.code == 1
    assert "raydl: a node's object store is full, and so is the disk" in end.err
    assert "Traceback" not in end.err
