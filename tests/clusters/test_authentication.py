"""A cluster that asks for a token lets in who has it, and the doctor tells the others."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydl import Run, doctor
from raydl.runtimes.specs import Actors
from tests.command import until

TOKEN = "a" * 32


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A head in a process of its own, started as the cluster files start theirs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="ray-")  # short, since the sockets' paths are limited
    command = [
        *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}"),
        *("--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={folder}"),
        *("--node-ip-address=127.0.0.1", "--include-dashboard=false", "--disable-usage-stats"),
    ]
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
        "RAY_worker_niceness": "0",
    }
    head = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        until(lambda: listens(port))
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def examined(address: str) -> list[doctor.Finding]:
    return list(doctor.cluster(Run(runtime=Actors(workers=1, address=address)), patience=120))


def test_who_has_the_token_is_let_in(address, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    assert examined(address) == [("cluster", "ok", "1 node with 1 CPU, 0 GPU")]


@pytest.mark.parametrize("mode", ["disabled", "token"])
def test_who_has_none_or_another_is_not(mode, address, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 32)
    (finding,) = examined(address)
    assert finding.state == "fault"
    assert "RAY_AUTH_MODE=token" in finding.text
