"""The training benchmark compares like with like, and runs to its end; no figure is asserted."""

import json
from dataclasses import replace
from itertools import repeat

import numpy as np
import pytest

from raydl.algorithms import DataParallel, LocalSGD
from raydl.core.grad import parameters
from raydl.runtimes.local.runtime import LocalRuntime
from tests.benchmarks.contenders import Raydl, distance
from tests.benchmarks.loops import Group, Loop, give
from tests.benchmarks.training import OPTIMIZER, main, prepared

BATCH, STEPS, ROUNDS = 16, 3, 4


def problem_of(algorithm, precision="float32"):
    """Small enough that the minibatches go past the first pass over the samples."""
    problem = prepared(replace(algorithm, batch_size=BATCH, steps=STEPS), 120, ROUNDS)
    return replace(problem, task=problem.task._replace(precision=precision))


def apart(problem, bare, rounds):
    """How far raydl in this process ends from the bare loop, relative to the way."""
    everyone = repeat(np.arange(len(problem.partition)))
    raydl = Raydl(problem, LocalRuntime(problem), everyone)
    for side in (bare, raydl):
        for _ in range(rounds):
            assert side.round() > 0
    return distance(raydl.params(), bare.params(), parameters(problem.task.model))


@pytest.mark.parametrize(("precision", "near"), [("float32", 1e-4), ("bf16", 1e-1)])
def test_the_bare_loop_trains_what_raydl_trains(precision, near):
    problem = problem_of(DataParallel(OPTIMIZER), precision)
    (given,) = give(problem, OPTIMIZER, BATCH, STEPS * ROUNDS)
    assert apart(problem, Loop(given, STEPS), ROUNDS) < near


@pytest.mark.parametrize("algorithm", [DataParallel(OPTIMIZER), LocalSGD(2, OPTIMIZER)])
def test_bare_processes_train_what_raydl_trains(algorithm):
    """Those that share their minibatches do so throughout; others, until raydl averages."""
    problem = problem_of(algorithm)
    given = give(problem, OPTIMIZER, BATCH, STEPS * ROUNDS)
    shared = len(given) == 1
    group = Group(given, 2, STEPS, averaging="DDP" if shared else None)
    try:
        assert apart(problem, group, ROUNDS if shared else 1) < 1e-4
    finally:
        group.close()


@pytest.mark.usefixtures("cluster_address")
def test_a_quick_run_ends(capsys):
    """It compares the first rounds of all contenders itself, raydl's under Ray Train as well."""
    main(["--quick", "--repeats", "2", "--only", "alone,ddp,optimizers", "--json"])
    figures = json.loads(capsys.readouterr().out)

    assert set(figures) == {"machine", "alone", "ddp", "optimizers"}
    for part, rows in (("alone", 4), ("ddp", 2)):
        measured = figures[part]
        alike = measured["contenders"]
        assert [row["precision"] for row in alike] == rows * ["float32"]
        assert min(row["ratio"] for row in alike if row["bare"]) <= 1
        ours = [row["ratio"] for row in alike if not row["bare"]]
        assert measured["ratios"]["float32"] in ours
        assert all(len(row["seconds"]) == 2 for row in alike)
    steps = figures["optimizers"]["optimizers"]
    assert steps["torch SGD"]["ratio"] == steps["torch AdamW"]["ratio"] == 1
