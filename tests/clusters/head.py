"""A Ray head in a process of its own, on loopback, started as the cluster files start theirs."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.waiting import until


class Head(NamedTuple):
    """Where a head listens.

    Attributes:
        address: HOST:PORT of the cluster.
        dashboard: URL of the dashboard, and of the jobs' server.
        process: its number.
    """

    address: str
    dashboard: str
    process: int


@contextmanager
def head(environment: Mapping[str, str], dashboard: bool = False) -> Iterator[Head]:
    """A head with one CPU, which ends with the block.

    Args:
        environment: what is set beside this process's own.
        dashboard: whether it has one.
    """
    port, shown = _free_port(), _free_port()
    folder = tempfile.mkdtemp(prefix="ray-")  # short, since the sockets' paths are limited
    command = [
        *(Path(sys.executable).with_name("ray"), "start", "--head", "--block", f"--port={port}"),
        *("--num-cpus=1", "--object-store-memory=100000000", f"--temp-dir={folder}"),
        *("--node-ip-address=127.0.0.1", "--disable-usage-stats"),
        f"--dashboard-agent-listen-port={_free_port()}",
        *(f"--include-dashboard={str(dashboard).lower()}", f"--dashboard-port={shown}"),
    ]
    process = subprocess.Popen(
        command,
        env=os.environ | {"RAY_worker_niceness": "0", **environment},
        stdout=subprocess.DEVNULL,
    )
    try:
        until(lambda: _listens(port) and (not dashboard or _listens(shown)))
        yield Head(f"127.0.0.1:{port}", f"http://127.0.0.1:{shown}", process.pid)
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0
