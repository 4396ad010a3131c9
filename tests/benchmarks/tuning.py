"""What sweeps cost and save on this machine.

    python -m tests.benchmarks.tuning [--only overhead,asha] [--repeats 5] [--json] [--quick]

32 runs of softmax regression that take 2 s each, two at a time: as the trials of a sweep, in turn
with two plain processes that do the same runs. And 64 settings of local SGD on the digits, over
rate × J × K: every one to its end, and with asynchronous successive halving, which stops those that
fall behind. The figures mean something on an otherwise idle machine only.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from rich.console import Console

import raydl
from raydl import Checkpointing, Evaluation, Model, Run
from raydl.algorithms import FedAvg, LocalSGD
from raydl.data import Digits
from raydl.optim.schedule import Constant
from raydl.runtimes.local.spec import Sequential
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import command
from tuning.sweep import Outcome, SweepConfig, sweep

AT_ONCE = 2
SECONDS = 2.0  # of a bare run
ROUNDS = 20  # each of which is scored, and told to the scheduler


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    command.run(
        "tests.benchmarks.tuning", __doc__, {"overhead": _overhead, "asha": _asha}, arguments
    )


def _overhead(repeats: int, quick: bool) -> dict[str, Any]:
    """Seconds of the runs under Tune and in plain processes, from the first one's start."""
    trials = 4 if quick else 32
    rows: dict[str, list[float]] = {"bare": [], "tune": []}
    with _folder() as folder, connected(None, AT_ONCE), _processes() as processes:
        run = _softmax(folder, local_epochs=1)
        if not quick:
            run = _lasting(run, SECONDS)
        for turn in range(repeats):
            runs = [
                replace(run, storage=f"{folder}/bare-{turn}", name=str(seed), seed=seed)
                for seed in range(trials)
            ]
            list(processes.map(_do, runs))
            rows["bare"].append(_window(Path(runs[0].storage)))
            plan = _plan(f"tune-{turn}")
            _swept(run, {"seed": {"grid": list(range(trials))}}, plan)
            rows["tune"].append(_window(Path(folder, plan.name, "trials")))
    ratios = [tune / bare for bare, tune in zip(rows["bare"], rows["tune"], strict=True)]
    return {
        "trials": trials,
        "at_once": AT_ONCE,
        "overhead": [{"name": name, "seconds": each} for name, each in rows.items()],
        "ratio": median(ratios),
    }


def _softmax(folder: str, local_epochs: int) -> Run:
    return Run(
        algorithm=FedAvg(lr=0.05, epochs=local_epochs),
        model=Model("Softmax"),
        runtime=Sequential(),
        rounds=ROUNDS,
        checkpoint=Checkpointing(keep=1),
        evaluation=Evaluation(test="never"),
        storage=folder,
    )


def _lasting(run: Run, seconds: float) -> Run:
    """With as many local epochs as make it last so long."""
    _do(replace(run, name="warm"))
    probed = 4
    began = perf_counter()
    _do(replace(run, algorithm=replace(run.algorithm, epochs=probed), name="probe"))
    took = perf_counter() - began
    epochs = max(1, round(probed * seconds / took))
    return replace(run, algorithm=replace(run.algorithm, epochs=epochs))


def _do(run: Run) -> None:
    raydl.run(run)


def _warm(folder: str) -> None:
    """What a process does once: imports, and the first run of all."""
    with TemporaryDirectory(dir=folder) as own:
        _do(replace(_softmax(own, 1), rounds=1, name="warm"))


@contextmanager
def _processes() -> Iterator[ProcessPoolExecutor]:
    """Processes that have trained before; those of Tune begin within the time that is measured."""
    with _folder() as folder:
        spawn = get_context("spawn")
        with ProcessPoolExecutor(AT_ONCE, spawn, _warm, (folder,)) as pool:
            for done in [pool.submit(_warm, folder) for _ in range(AT_ONCE)]:
                done.result()
            yield pool


def _window(folder: Path) -> float:
    """Seconds from the first run's spec, written as it begins, to the last one's summary."""
    began = min(each.stat().st_mtime for each in folder.glob("*/run.yaml"))
    return max(each.stat().st_mtime for each in folder.glob("*/summary.json")) - began


def _asha(repeats: int, quick: bool) -> dict[str, Any]:
    """What the halving takes of the grid's local steps, and what it misses; by the seed."""
    run = Run(
        algorithm=LocalSGD(schedule=Constant(), batch_size=8),
        data=Digits(validation=0.3),
        model=Model("MLP", {"hidden": [32]}),
        runtime=Sequential(),
        epochs=4 if quick else 16,
    )
    space = {
        "algorithm.optimizer.lr": {"grid": [0.001, 0.1] if quick else [0.001, 0.005, 0.02, 0.1]},
        "algorithm.steps": {"grid": [2, 8] if quick else [2, 4, 8, 16]},
        "algorithm.workers": {"grid": [2] if quick else [1, 2, 4, 8]},
    }
    with _folder() as folder, connected(None, AT_ONCE):
        run = replace(run, storage=folder)
        whole = _swept(run, space, _plan("grid"))
        # A sixth goes on from each rung: of what the grid's trials scored, over 60 random orders,
        # that takes 20 % of its steps, and misses .2 points; a quarter, the default, 22 and none.
        plan = replace(_plan("asha"), scheduler="asha", grace=1.0, reduction=6.0)
        rows = []
        for seed in range(repeats):
            halving = replace(plan, name=f"asha-{seed}", seed=seed)
            rows.append(_beside(_swept(run, space, halving), whole) | {"seed": seed})
    assert whole.best is not None
    return {
        "configurations": len(whole.trials),
        "epochs": run.epochs,
        "best": whole.best["val_accuracy"],
        "halving": rows,
    }


def _beside(halved: Outcome, whole: Outcome) -> dict[str, float]:
    assert halved.best is not None
    assert whole.best is not None
    steps = [sum(row["local_steps"] or 0 for row in each.trials) for each in (halved, whole)]
    return {
        "share": steps[0] / steps[1],
        "missed": whole.best["val_accuracy"] - halved.best["val_accuracy"],
    }


def _plan(name: str) -> SweepConfig:
    return SweepConfig(name=name, searcher="grid", concurrent=AT_ONCE, seeds=0)


def _swept(run: Run, space: dict[str, Any], plan: SweepConfig) -> Outcome:
    return sweep(run, space, plan, console=Console(quiet=True))


@contextmanager
def _folder() -> Iterator[str]:
    with TemporaryDirectory(prefix="raydl-") as folder:
        yield folder


if __name__ == "__main__":
    main()
