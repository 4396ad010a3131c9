"""The autoscaler of laptop.yaml: nodes come when a run asks for workers, and go when it is over."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.command import outcome, titled
from tests.waiting import until

pytestmark = pytest.mark.nodes

CLUSTERS = Path(__file__).parents[2] / "clusters"
ADDRESS = "127.0.0.1:6379"  # where Ray's provider of such nodes expects the head
RUN = ("--clients", "40", "--rounds", "100", "--evaluation.every", "50")


@pytest.fixture
def environment(tmp_path) -> dict[str, str]:
    """With a home of its own for the token, and the commands of this installation."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    home = {"HOME": str(tmp_path), "PATH": path, "RAY_worker_niceness": "0"}
    return {**os.environ, **home, "RAY_AUTH_MODE": "token", "RAY_ADDRESS": ""}


@pytest.fixture
def head(tmp_path, environment) -> Iterator[psutil.Process]:
    """The head of laptop.yaml, whose idle nodes need not be there for so long."""
    with socket.socket() as client:
        if client.connect_ex(("127.0.0.1", 6379)) == 0:
            pytest.skip("port 6379 is taken, where Ray's provider expects the head of its nodes")
    for name in ("laptop.sh", "laptop.yaml"):
        shutil.copy(CLUSTERS / name, tmp_path)
    file = tmp_path / "laptop.yaml"
    settings = file.read_text()
    assert "idle_timeout_minutes: 0.5" in settings
    file.write_text(settings.replace("idle_timeout_minutes: 0.5", "idle_timeout_minutes: 0.05"))
    process = subprocess.Popen(
        ["bash", "laptop.sh", "--block", "--disable-usage-stats"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    started = psutil.Process(process.pid)
    try:
        until(lambda: len(raylets(started)) == 1 and answers(environment))
        yield started
    finally:
        below = started.children(recursive=True)
        process.terminate()
        process.wait(timeout=60)
        for each in below:  # the nodes are not the head's to end
            if each.is_running():
                each.kill()


def answers(environment: dict[str, str]) -> bool:
    asked = ["ray", "status", f"--address={ADDRESS}"]
    return subprocess.run(asked, env=environment, capture_output=True, check=False).returncode == 0


def raylets(head: psutil.Process) -> list[psutil.Process]:
    """The nodes, one process of each."""
    return titled(head, "raylet/raylet")


def test_nodes_come_for_a_run_and_go_when_they_are_idle(head, environment, tmp_path):
    def command(name: str, *options: str) -> list[str]:
        program = [sys.executable, "-m", "raydl", "run", *RUN, "--name", name]
        return [*program, "--storage", str(tmp_path / "runs"), *options]

    runtime = ("--runtime", "actors", "--runtime.address", ADDRESS, "--runtime.workers", "2")
    run = subprocess.Popen(
        command("scaled", *runtime), env=environment, stdout=subprocess.DEVNULL, text=True
    )
    try:
        until(lambda: len(titled(head, "ray::BlockActor")) == 2 or run.poll() is not None)
        assert len(raylets(head)) == 3
        assert run.wait(timeout=150) == 0
    finally:
        run.kill()
        run.wait()
    until(lambda: len(raylets(head)) == 1)
    subprocess.run(command("alone", "--runtime", "sequential"), env=environment, check=True)
    assert outcome(tmp_path / "runs/scaled") == outcome(tmp_path / "runs/alone")
