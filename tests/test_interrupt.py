"""Signals to ``raydl run`` as a process of its own, and what it leaves behind."""

import os
import random
import re
import signal
import time
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from tests.command import SMALL, done, ended, outcome, start, until

LONG = (*SMALL, "--rounds", 100_000, "--checkpoint.every", 5, "--evaluation.every", 100)
ACTORS = (*SMALL, "--runtime", "actors", "--runtime.workers", 2, "--evaluation.every", 100)


def saved(process: Popen[str], folder: Path, after: int = 0) -> None:
    """Waits until a run has a checkpoint of a round after that one."""

    def reached() -> bool:
        assert process.poll() is None, process.communicate()
        return last_round(folder) > after

    until(reached)


def last_round(folder: Path) -> int:
    found = folder.glob("checkpoints/*/checkpoint.json")
    return max((int(each.parent.name) for each in found), default=0)


def uninterrupted(rounds: int, storage: Path) -> Path:
    done("run", *LONG, "--rounds", rounds, "--storage", storage, "--name", "whole")
    return storage / "whole"


def test_sigterm_finishes_the_round_and_says_how_to_resume(tmp_path):
    process = start("run", *LONG, "--storage", tmp_path, "--name", "a", cwd=tmp_path)
    saved(process, tmp_path / "a")
    process.send_signal(signal.SIGTERM)
    stopped = ended(process)
    assert (stopped.code, stopped.err) == (143, "")
    number = last_round(tmp_path / "a")
    assert stopped.out.endswith(
        f"\nstopped after round {number}; the run is in {tmp_path}/a\n"
        f"go on with: raydl run --resume {tmp_path}/a\n"
    )
    rounds = number + 3
    done("run", "--resume", tmp_path / "a", "--rounds", rounds)
    assert outcome(tmp_path / "a") == outcome(uninterrupted(rounds, tmp_path))


def test_sigkill_at_any_instant(tmp_path):
    """Twice, each time at some instant after the first checkpoint of that life."""
    folder, begin = tmp_path / "a", ("run", *LONG, "--storage", tmp_path, "--name", "a")
    for life in (begin, ("run", "--resume", folder)):
        before = last_round(folder)
        process = start(*life, cwd=tmp_path)
        saved(process, folder, before)
        time.sleep(random.uniform(0, 0.3))
        process.kill()
        assert ended(process).code == -signal.SIGKILL
    rounds = last_round(folder) + 7
    done("run", "--resume", folder, "--rounds", rounds)
    assert outcome(folder) == outcome(uninterrupted(rounds, tmp_path))


def is_actor(process: psutil.Process) -> bool:
    try:
        return "ray::Host" in "".join(process.cmdline())
    except psutil.Error:  # it was short-lived
        return False


def family(process: Popen[str]) -> list[psutil.Process]:
    """All the processes that a run on two actors starts, as soon as the actors are there."""
    found: list[psutil.Process] = []

    def complete() -> bool:
        found[:] = psutil.Process(process.pid).children(recursive=True)
        return sum(map(is_actor, found)) == 2

    until(complete)
    assert any("raylet" in each.name() for each in found)
    return found


def gone(processes: list[psutil.Process]) -> bool:
    return not any(
        each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes
    )


@pytest.mark.parametrize(
    ("number", "to_the_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)],
    ids=["ctrl-c", "sigterm"],
)
def test_with_actors(number, to_the_group, code, tmp_path):
    """Ctrl-C reaches the whole process group, Ray's own processes among them."""
    folder = tmp_path / "a"
    process = start(
        *("run", *ACTORS, "--rounds", 100_000, "--checkpoint.every", 5),
        *("--storage", tmp_path, "--name", "a"),
        cwd=tmp_path,
    )
    started = family(process)
    saved(process, folder)
    if to_the_group:
        assert sum(os.getpgid(each.pid) == process.pid for each in started) > 2
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    stopped = ended(process)
    assert (stopped.code, stopped.err) == (code, "")
    assert re.search(rf"stopped after round {last_round(folder)}; .*\ngo on with", stopped.out)
    until(lambda: gone(started))


def test_nothing_of_ray_is_left_after_the_end_or_an_error(tmp_path):
    """The model's module lies where the command is given, as a user's own does."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    here = ("--storage", tmp_path, "--model", "mine:Net")
    sound = start("run", *ACTORS, *here, cwd=tmp_path)
    broken = start("run", *ACTORS, *here, "--algorithm.lr", "1e38", cwd=tmp_path)
    started = [*family(sound), *family(broken)]
    well, badly = ended(sound), ended(broken)
    assert (well.code, well.err) == (0, "")
    assert badly.code == 1
    assert badly.err.startswith("raydl: round 1: the update of client")
    assert len(badly.err.splitlines()) == 1
    until(lambda: gone(started))
