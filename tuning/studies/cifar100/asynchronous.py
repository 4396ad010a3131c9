"""Consistencies of a parameter server: at equal samples, and at equal seconds of virtual time.

Eight workers push gradients of B = 64 to a server that steps by SGD with momentum. Synchronous, it
waits for all of them; stale-synchronous (SSP), it steps with each push, and nobody may be more than
s pushes ahead of the slowest; asynchronous, nobody waits. Momentum is .9 for all of them, as where
W. Zhang, S. Gupta, X. Lian, J. Liu, "Staleness-aware Async-SGD for Distributed Deep Learning",
IJCAI 2016, compare the same on CIFAR-10; the rate is chosen for each by itself.
"""

from dataclasses import replace
from math import ceil, nan
from pathlib import Path
from typing import Any

import pandas as pd

from raydl import Evaluation, Run
from raydl.algorithms import ParameterServer
from raydl.optim import SGD
from raydl.runtimes.asynchrony.consistency import (
    Asynchronous,
    Consistency,
    StaleSynchronous,
    Synchronous,
)
from raydl.runtimes.simulated.compute_time import Lognormal
from raydl.runtimes.simulated.spec import Simulated
from tuning.output import drawing, markdown
from tuning.studies.cifar100.protocol import NAME, accuracies, base
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

WORKERS, BATCH, DECAY = 8, 64, 2e-3
CONSISTENCIES: dict[str, Consistency] = {
    "synchronous": Synchronous(),
    **{f"SSP, s = {bound}": StaleSynchronous(bound) for bound in (1, 4, 16)},
    "asynchronous": Asynchronous(),
}
# The middle first, so that a part of the grid already has its plot. A step of the synchronous
# server is along the mean of eight gradients, a step of the others along one that is stale. A list
# whose last rate but one was the best goes on.
RATES = dict.fromkeys(CONSISTENCIES, (0.005, 0.0025, 0.01)) | {
    "synchronous": (0.1, 0.05, 0.2),
    "SSP, s = 4": (0.005, 0.0025, 0.01, 0.02),
}
# A local step takes 0.1 s in the median; workers differ (σ = .2 of the logarithm), the same worker
# from step to step (σ = .5), and one of the eight is half as fast. Links of 1 Gbit/s and 1 ms; of a
# hundred pushes one is lost.
CLUSTER = Simulated(
    speed=Lognormal(0.1, spread=0.2, jitter=0.5),
    stragglers=1 / WORKERS,
    slowdown=2.0,
    latency=1e-3,
    down=1e9,
    up=1e9,
    update_loss=0.01,
)
BY = ["consistency"]
MEASURED = [
    "seconds",
    "equal_seconds",
    "equal_accuracy",
    "staleness",
    "max_staleness",
    "lost",
    "late",
]
EPOCHS: dict[Scale, int] = {"smoke": 2, "short": 5, "full": 150}


def asynchronous(setting: Setting) -> Study:
    """Synchronous, stale-synchronous and asynchronous SGD on 8 workers of different speed.

    All the workers together go through as many samples as one in so many epochs.
    """
    smoke, epochs = setting.smoke, EPOCHS[setting.scale]
    run = replace(base(setting, epochs), evaluation=Evaluation(every=1))
    samples = len(run.data.load().train.targets)
    batch = 8 if smoke else BATCH
    each = ceil(samples / 2 / WORKERS / batch)  # pushes of a worker in half an epoch, in the mean
    cells = [
        _cell(run, name, rates[number], batch, each)
        for number in range(2 if smoke else max(map(len, RATES.values())))
        for name, rates in RATES.items()
        if number < len(rates)
    ]

    title = setting.title(NAME, f"{epochs} epochs")

    def best(results: Results) -> pd.DataFrame:
        return add_measurements(choose_best(results.runs, BY), results.rounds)

    def draw(results: Results, folder: Path) -> None:
        draw_curves(best(results), results.rounds, title, folder / "asynchronous.png")

    def report(results: Results) -> str:
        return _report(results.runs, best(results))

    return Study(cells, report, draw, BY, setting.seeds)


def _cell(run: Run, name: str, lr: float, batch: int, pushes: int) -> Cell:
    consistency, optimizer = CONSISTENCIES[name], SGD(lr, weight_decay=DECAY)
    steps = WORKERS * pushes // consistency.quorum(WORKERS)  # of the server, in a round
    algorithm = ParameterServer(WORKERS, optimizer, batch_size=batch, exchanges=steps)
    settings: CellSettings = {
        "consistency": name,
        "workers": WORKERS,
        "lr": lr,
        "weight_decay": DECAY,
        "epochs": int(run.epochs or 0),
    }
    runtime = replace(CLUSTER, consistency=consistency)
    called = f"{name.replace(', s = ', '')}-lr{lr:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, runtime=runtime, name=called), settings)


def add_measurements(best: pd.DataFrame, rounds: pd.DataFrame) -> pd.DataFrame:
    """Runs with what their histories say of them.

    Args:
        best: the runs, a row each.
        rounds: the rows of their histories, see `tuning.studies.study.Results`.

    Returns:
        The same rows, with the columns ``seconds`` (of virtual time, in all), ``equal_seconds``
        (when the first of the runs was done), ``equal_accuracy`` (in validation, as it was last
        scored by then), ``staleness`` (the mean over the updates), ``max_staleness``, ``lost`` and
        ``late``; missing for a run without a history.
    """
    of = {str(name): each for name, each in rounds.groupby("name") if name in set(best["name"])}
    equal = min((each["simulated_seconds"].max() for each in of.values()), default=nan)
    told: dict[str, dict[str, Any]] = {}
    for name, each in of.items():
        updates = each["samples"].diff().fillna(each["samples"])  # of equal minibatches
        scored = each.set_index("simulated_seconds")["val_accuracy"]
        told[name] = {
            "seconds": each["simulated_seconds"].max(),
            "equal_seconds": equal,
            "equal_accuracy": scored.asof(equal),
            "staleness": (each["staleness"] * updates).sum() / updates.sum(),
            "max_staleness": each["max_staleness"].max(),
            "lost": each["lost"].max(),
            "late": each["late"].max(),
        }
    return best.join(pd.DataFrame(told.values(), [*told], MEASURED), on="name")


def _report(results: pd.DataFrame, best: pd.DataFrame) -> str:
    equal = best["equal_seconds"].min()
    rows = [
        {
            "consistency": row["consistency"],
            "lr": row["lr"],
            "rates tried": row["rates"],
            "samples": row["samples"],
            **accuracies(row),
            "± over seeds": 100 * row["test_std"],
            "seconds": row["seconds"],
            f"validation at {equal:,.1f} s, %": 100 * row["equal_accuracy"],
            "staleness, mean": row["staleness"],
            "staleness, most": row["max_staleness"],
            "lost": row["lost"],
            "late": row["late"],
            "wall seconds": round(row["wall_seconds"], 0),
        }
        for row in best.to_dict("records")
    ]
    forms = ("", ".4g", "", "", ".2f", ".2f", ".2f", ",.1f", ".2f", ".2f", "", "", "", ".0f")
    first = results[results["seed"] == results["seed"].iloc[0]]
    every = first.set_index(["consistency", "lr"])["val_accuracy"].unstack("lr")
    every = (100 * every).reindex(best["consistency"]).rename(columns="lr {:g}".format)
    epochs = results["epochs"].iloc[0]
    return (
        f"## At equal samples, {epochs} epochs, and at equal seconds of virtual time\n\n"
        f"{markdown(pd.DataFrame(rows), forms)}\n\n"
        "Each at its best rate in validation. Staleness is counted in steps of the server.\n\n"
        "## Validation accuracy in percent, of every rate that did not diverge\n\n"
        f"{markdown(every.reset_index())}\n\n"
    )


def draw_curves(best: pd.DataFrame, rounds: pd.DataFrame, title: str, file: Path) -> None:
    """Plots the validation accuracy of runs, over the epochs and over the virtual seconds.

    Args:
        best: the runs, see `measured`.
        rounds: the rows of their histories.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    scored = rounds.merge(best[["name", "consistency", "lr"]], on="name")
    scored = scored.assign(
        accuracy=100 * scored["val_accuracy"],
        label=[f"{row.consistency} (lr {row.lr:g})" for row in scored.itertuples()],
    )
    order = [f"{row.consistency} (lr {row.lr:g})" for row in best.itertuples()]
    with drawing(file, panels=2, width=11, title=title) as panels:
        for axes, column, label in (
            (panels[0], "epochs", "epochs (of all the workers together)"),
            (panels[1], "simulated_seconds", "seconds of virtual time"),
        ):
            sns.lineplot(
                scored, x=column, y="accuracy", hue="label", hue_order=order, marker="o", ax=axes
            )
            axes.set(xlabel=label, ylabel="validation accuracy, %", xlim=(0, None), ylim=(0, None))
            axes.grid(alpha=0.3)
            axes.legend(loc="upper left", title=None)
        panels[1].axvline(best["equal_seconds"].min(), color="gray", linestyle="--", zorder=0)
        legend = panels[1].get_legend()
        assert legend is not None
        legend.remove()
        panels[0].set_title("at equal samples")
        panels[1].set_title("at equal seconds (dashed: the first is done)")
