"""A study as a job, submitted to a running cluster with the code of this folder."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

from tests.clusters.head import head

HERE = Path(__file__).parents[2]


def test_a_submitted_study_leaves_its_results(tmp_path):
    environment = {"RAY_AUTH_MODE": "disabled", "RAY_ADDRESS": ""}
    with head(environment, dashboard=True) as started:
        submitted = subprocess.run(
            [
                *(Path(sys.executable).with_name("ray"), "job", "submit"),
                *("--address", started.dashboard, "--working-dir", ".", "--"),
                *(sys.executable, "-m", "tuning", "run", "local_steps", "--scale", "smoke"),
                *("--output", tmp_path),
            ],
            cwd=HERE,
            env=os.environ | environment,
            text=True,
            capture_output=True,
            timeout=240,
            check=False,
        )
    assert submitted.returncode == 0, submitted.stdout + submitted.stderr
    assert "succeeded" in submitted.stdout
    assert set(pd.read_csv(tmp_path / "results.csv")["outcome"]) == {"finished"}
    assert (tmp_path / "local_steps.png").exists()
