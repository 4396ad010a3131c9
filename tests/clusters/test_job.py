"""Jobs, submitted to a head's job server: what is said, exit codes, stopping, going on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psutil
import pytest

from tests.clusters.head import Head, head
from tests.command import done, outcome
from tests.waiting import until

HERE = Path(__file__).parents[2]
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_ADDRESS": "",
    "RAY_JOB_STOP_WAIT_TIME_S": "60",  # Ray's own 3 s may be over before a round is
}
LONG = ("--clients", "20", "--rounds", "160", "--evaluation.every", "80")


@pytest.fixture(scope="module")
def jobs() -> Iterator[Head]:
    """A head with a job server."""
    with head(ENVIRONMENT, dashboard=True) as started:
        yield started


def job(jobs: Head, *argv: object) -> subprocess.CompletedProcess[str]:
    """A command of `ray job`."""
    program, (verb, *rest) = Path(sys.executable).with_name("ray"), argv
    return subprocess.run(
        [program, "job", str(verb), "--address", jobs.dashboard, *map(str, rest)],
        cwd=HERE,
        env=os.environ | ENVIRONMENT,
        text=True,
        capture_output=True,
        timeout=240,
        check=False,
    )


def submit(jobs: Head, *argv: object, options: tuple[str, ...] = ()) -> tuple[int, str]:
    """Submits a command with the code of this folder; its exit code, and what it printed."""
    command = (*options, "--working-dir", ".", "--", sys.executable, "-m", *argv)
    ended = job(jobs, "submit", *command)
    return ended.returncode, ended.stdout + ended.stderr


def test_a_submitted_study_leaves_its_results(jobs, tmp_path):
    study = ("tuning", "run", "local_steps", "--scale", "smoke", "--output", tmp_path)
    code, said = submit(jobs, *study)
    assert code == 0, said
    assert "succeeded" in said
    assert set(pd.read_csv(tmp_path / "results.csv")["outcome"]) == {"finished"}
    assert (tmp_path / "local_steps.png").exists()


def test_what_a_job_prints_arrives_and_so_does_its_failure(jobs, tmp_path):
    code, said = submit(
        jobs, "raydl", "run", "--rounds", "5", "--runtime", "sequential", "--storage", tmp_path
    )
    assert code == 0, said
    assert "round 5/5  loss" in said
    assert "fingerprint" in said
    code, said = submit(jobs, "raydl", "run", "--rounds", "-1")
    assert (code, "raydl: rounds is -1" in said) == (1, True), said  # of Ray's, which tells ours:
    assert "exit code 2" in said


def test_a_job_that_is_stopped_and_then_loses_its_head_goes_on(jobs, tmp_path):
    done("run", *LONG, "--runtime", "sequential", "--storage", tmp_path, "--name", "alone")
    place = ("--runtime", "actors", "--runtime.workers", "1", "--storage", tmp_path)
    run = ("raydl", "run", *LONG, *place, "--name", "moved")
    folder = tmp_path / "moved"

    def began(rounds: int) -> bool:
        return (folder / f"checkpoints/{rounds:06d}").exists()

    options = ("--no-wait", "--submission-id", "first")
    assert submit(jobs, *run, options=options)[0] == 0
    until(lambda: began(10))
    job(jobs, "stop", "first")
    assert "STOPPED" in job(jobs, "status", "first").stdout.upper()
    assert "stopped after round" in job(jobs, "logs", "first").stdout
    assert not (folder / "summary.json").exists()

    again = ("raydl", "run", "--resume", folder)
    with head(ENVIRONMENT, dashboard=True) as lost:
        stopped = max(int(each.name) for each in (folder / "checkpoints").iterdir())
        assert submit(lost, *again, options=("--no-wait",))[0] == 0
        until(lambda: began(stopped // 10 * 10 + 20))
        started = psutil.Process(lost.process)
        for process in (*started.children(recursive=True), started):
            process.kill()
    assert not (folder / "summary.json").exists()
    code, said = submit(jobs, *again)
    assert code == 0, said
    assert outcome(folder) == outcome(tmp_path / "alone")
