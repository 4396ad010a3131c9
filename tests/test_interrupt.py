"""Signals to ``raydl run`` as a process of its own, and what it leaves behind."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from subprocess import Popen

import psutil
import pytest

from tests.command import SMALL, done, ended, gone, outcome, start, titled
from tests.waiting import until

LONG = (*SMALL, "--rounds", 100_000, "--checkpoint.every", 5, "--evaluation.every", 100)
ACTORS = ("--runtime", "actors", "--runtime.workers", 2)


@pytest.fixture
def begin(tmp_path) -> Iterator[Callable[..., Popen[str]]]:
    """Starts ``raydl run``; what has not ended by itself is killed in the end."""
    processes = []

    def begin(*argv: object) -> Popen[str]:
        processes.append(start("run", *argv, "--storage", tmp_path, cwd=tmp_path))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


def saved(process: Popen[str], folder: Path) -> None:
    """Waits until a run has a checkpoint."""

    def reached() -> bool:
        assert process.poll() is None, process.communicate()
        return last_round(folder) > 0

    until(reached)


def last_round(folder: Path) -> int:
    found = folder.glob("checkpoints/*/checkpoint.json")
    return max((int(each.parent.name) for each in found), default=0)


def uninterrupted(rounds: int, storage: Path) -> Path:
    done("run", *LONG, "--rounds", rounds, "--storage", storage, "--name", "whole")
    return storage / "whole"


def test_sigkill_at_any_instant(begin, tmp_path):
    folder = tmp_path / "a"
    process = begin(*LONG, "--name", "a")
    saved(process, folder)
    pause = random.uniform(0, 0.5)
    print(f"killed {pause} s after its first checkpoint was seen")  # to do that again
    time.sleep(pause)
    process.kill()
    assert ended(process).code == -signal.SIGKILL
    rounds = last_round(folder) + 7
    done("run", "--resume", folder, "--rounds", rounds)
    assert outcome(folder) == outcome(uninterrupted(rounds, tmp_path))


def family(run: Popen[str]) -> list[psutil.Process]:
    """All the processes that a run on two actors starts, seen as soon as the actors are there."""
    found: list[psutil.Process] = []

    def complete() -> bool:
        root = psutil.Process(run.pid)
        found[:] = root.children(recursive=True)
        return len(set(titled(root, "ray::BlockActor")) & set(found)) == 2

    until(complete)
    return found


def watched(*runs: Popen[str]) -> dict[str, list[psutil.Process]]:
    """All the processes that runs start, by name, seen again and again until the runs end."""
    found: dict[str, dict[int, psutil.Process]] = {}
    while any(run.poll() is None for run in runs):
        for run in runs:
            with suppress(psutil.Error):  # it may end at any time
                for child in psutil.Process(run.pid).children(recursive=True):
                    found.setdefault(child.name(), {})[child.pid] = child
        time.sleep(0.05)
    return {name: list(each.values()) for name, each in found.items()}


@pytest.mark.parametrize(
    ("number", "to_the_group", "code"),
    [(signal.SIGINT, True, 130), (signal.SIGTERM, False, 143)],
    ids=["ctrl-c", "sigterm"],
)
def test_a_signal_finishes_the_round(number, to_the_group, code, begin, tmp_path):
    """Ctrl-C reaches the whole process group, Ray's own processes among them."""
    folder = tmp_path / "a"
    process = begin(*LONG, *ACTORS, "--name", "a")
    started = family(process)
    saved(process, folder)
    if to_the_group:
        assert sum(os.getpgid(each.pid) == process.pid for each in started) > 2
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    stopped = ended(process)
    assert (stopped.code, stopped.err) == (code, "")
    final = last_round(folder)
    assert stopped.out.endswith(
        f"\nstopped after round {final}; the run is in {folder}\n"
        f"go on with: raydl run --resume {folder}\n"
    )
    until(lambda: gone(started))
    rounds = final + 3
    done("run", "--resume", folder, "--rounds", rounds, "--runtime", "sequential")
    assert outcome(folder) == outcome(uninterrupted(rounds, tmp_path))


def test_nothing_of_ray_is_left_after_the_end_or_an_error(begin, tmp_path):
    """The model's module lies where the command is given, as a user's own does."""
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Sequential):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__(nn.Flatten(), nn.Linear(64, classes))\n"
    )
    run = (*SMALL, *ACTORS, "--model", "mine:Net")
    sound, broken = begin(*run), begin(*run, "--algorithm.lr", "1e38")
    started = watched(sound, broken)
    assert len(started["raylet"]) >= 2  # what they start bears their name for an instant
    well, badly = ended(sound), ended(broken)
    assert (well.code, well.err) == (0, "")
    assert badly.code == 1
    assert badly.err.startswith("raydl: round 1: the update of client")
    assert len(badly.err.splitlines()) == 1
    until(lambda: gone([process for each in started.values() for process in each]))
