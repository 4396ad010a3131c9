"""Ray's own processes die: it is told in words, and nothing is left running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from tests.clusters.head import head
from tests.command import Ended, ended, gone
from tests.waiting import until

LONG = ("--rounds", "100000", "--checkpoint.every", "5", "--evaluation.every", "50")
RUN = ("raydl", "run", *LONG, "--name", "a")
COMMANDS = {
    "actors": (*RUN, "--clients", "20", "--runtime", "actors", "--runtime.workers", "1"),
    "allreduce": (*RUN, "--algorithm", "DataParallel", "--workers", "2"),
    "server": (*RUN, "--algorithm", "ParameterServer", "--workers", "1"),
    "sweep": ("tuning.sweep", "--config", "space.yaml"),
}
SWEEP = {
    "run": {"algorithm": "LocalSGD", "rounds": 100_000, "checkpoint": {"every": 5}},
    "space": {"algorithm.steps": {"grid": [4]}},
    "searcher": "grid",
    "name": "a",
}
# As a user would, who wants to go on with something else afterwards.
PROGRAM = """
import raydl, ray
from raydl.runtimes import Actors
try:
    raydl.run(raydl.Run(rounds=100_000, name="a", runtime=Actors(workers=1)))
except raydl.runtimes.runtime.ClusterError as error:
    print("caught:", error)
assert not ray.is_initialized()
"""


def killed(name: str, command: tuple[str, ...], cwd: Path, root: int | None = None) -> Ended:
    """How a command ends, and all that it started, when a process of Ray's dies in mid-run.

    Args:
        name: of the process.
        command: arguments of Python.
        cwd: where it is given; the run or the sweep is in ``runs/a`` there.
        root: the process that has started Ray; by default the command's.
    """
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    started: list[psutil.Process] = []
    try:
        until(lambda: process.poll() is not None or any(cwd.rglob("checkpoint.json")))
        assert process.poll() is None, ended(process)
        started = psutil.Process(root or process.pid).children(recursive=True)
        (victim,) = (each for each in started if each.name() == name)
        victim.send_signal(signal.SIGKILL)
        return ended(process)
    finally:
        process.kill()
        if root is None:
            until(lambda: gone(started))


@pytest.mark.usefixtures("ray_environment")
@pytest.mark.parametrize(
    ("what", "name"),
    [("allreduce", "raylet"), ("server", "gcs_server"), ("sweep", "raylet")],
)
def test_a_command_says_what_died_and_how_to_go_on(what, name, tmp_path):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SWEEP))
    end = killed(name, ("-m", *COMMANDS[what]), tmp_path)
    assert end.code == 1, end.err
    again = "raydl sweep" if what == "sweep" else "raydl run"
    shown = {"raylet": "raylet", "gcs_server": "GCS server"}[name]
    assert end.err.startswith(f"raydl: Ray's {shown}, which ")
    assert end.err.endswith(f"; go on with: {again} --resume runs/a\n")
    assert len(end.err.splitlines()) == 1


@pytest.mark.usefixtures("ray_environment")
def test_a_program_gets_an_error(tmp_path):
    end = killed("gcs_server", ("-c", PROGRAM), tmp_path)
    assert end.code == 0, end.err
    assert "caught: Ray's GCS server, which keeps track of the whole cluster, is dead" in end.out


def test_the_head_of_another_cluster_dies(tmp_path, ray_environment, monkeypatch):
    """Ray waits for it to be started again, usually for a minute."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "15")
    with head({}) as other:
        command = ("-m", *COMMANDS["actors"], "--runtime.address", other.address)
        end = killed("gcs_server", command, tmp_path, other.process)
    assert end.code == 1
    assert end.err.startswith("raydl: Ray's ")
    assert len(end.err.splitlines()) == 1
