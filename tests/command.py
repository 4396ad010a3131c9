"""The command ``raydl`` under test: in this process, or in one of its own."""

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import psutil
import pytest

from raydl.cli.main import main

# Digits, 20 clients, 4 of them a round, 10 small steps each: a round takes some 10 ms.
SMALL = (
    *("--runtime", "sequential", "--clients", "20", "--participation.fraction", "0.2"),
    *("--algorithm.epochs", "1", "--algorithm.batch_size", "16", "--rounds", "6"),
)


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


def raydl(*argv: object) -> Ended:
    """Runs a command in this process, the working directory included."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        main([str(each) for each in argv])
    return Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def done(*argv: object) -> str:
    """The output of a command that must succeed."""
    ended = raydl(*argv)
    assert ended.code == 0, ended.err
    return ended.out


def refused(*argv: object) -> str:
    """What is said of a mistake, in a command that must end with 2."""
    ended = raydl(*argv)
    assert ended.code == 2, ended.out
    assert ended.err.startswith("raydl: ")
    return ended.err


def start(*argv: object, cwd: Path) -> subprocess.Popen[str]:
    """Starts a command in a process of its own, the leader of a group of its own."""
    environment = os.environ | {"RAY_AUTH_MODE": "disabled"}
    environment.pop("RAY_ADDRESS", None)
    return subprocess.Popen(
        [Path(sys.executable).with_name("raydl"), *map(str, argv)],
        cwd=cwd,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def ended(process: subprocess.Popen[str]) -> Ended:
    """Waits for a command to end; on a slow machine it says that it waits for its workers."""
    out, err = process.communicate(timeout=240)
    waits = re.compile("raydl: .* workers are up; waiting .*\n")
    return Ended(process.returncode, out, waits.sub("", err))


def titled(root: psutil.Process, title: str) -> list[psutil.Process]:
    """The processes below one that have this in their title, where Ray shows what they do."""
    found = []
    for process in root.children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if title in " ".join(process.cmdline()[:1]):
                found.append(process)
    return found


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all of them have ended."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                return False
    return True


def summary(run: Path) -> dict[str, Any]:
    return json.loads((run / "summary.json").read_text())


def outcome(run: Path) -> tuple[str, list[dict[str, Any]]]:
    """What must not depend on where and how often a run was stopped: fingerprint and rows."""
    table = pd.read_parquet(run / "metrics.parquet")
    timeless = table.drop(columns=["wall_seconds", "simulated_seconds"])
    rows = timeless.astype(object).where(timeless.notna(), None).to_dict("records")
    return summary(run)["fingerprint"], rows
