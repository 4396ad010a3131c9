"""Heterogeneity: clients that have N_c of the classes each, over J local steps.

FedAvg; and where J = 4 algorithms that are made for clients that differ.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from raydl.algorithms import SCAFFOLD, FedAvg, FedAvgM, FedDyn, FedProx
from raydl.data import IID, ClassesPerClient
from tuning.output import drawing
from tuning.studies.cifar100.protocol import MADE_UP, NAME, best_rates, federated
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

CLASSES = (1, 5, 10, 50, 100)  # of a client; at 100 the clients are iid
STEPS = (4, 8, 16)
RATES = (0.1, 0.05)
BY = ["algorithm", "classes", "steps"]
OTHERS: dict[str, Callable[..., FedAvg]] = {
    "SCAFFOLD": SCAFFOLD,
    "FedDyn": FedDyn,
    "FedAvgM": FedAvgM,
    "FedProx": FedProx,
}
# At J = 4; in proportion fewer at more, so that all runs go through as many samples.
ROUNDS: dict[Scale, int] = {"smoke": 4, "short": 100, "full": 2000}


def heterogeneity(setting: Setting) -> Study:
    """Clients with 1, 5, 10, 50 or all of the classes: FedAvg, J = 4, 8 and 16; others, J = 4."""
    smoke = setting.smoke
    most = MADE_UP.classes if smoke else CLASSES[-1]
    rates, skewed = (RATES[:1], (1,)) if smoke else (RATES, CLASSES[:-1])
    grid = [
        ("FedAvg", lr, steps, classes)
        for lr in rates
        for steps in (STEPS[:2] if smoke else STEPS)
        for classes in ((1, 5, most) if smoke else CLASSES)
    ] + [
        (algorithm, lr, STEPS[0], classes)
        for algorithm in OTHERS
        for lr in rates
        for classes in skewed
    ]
    cells = []
    for algorithm, lr, steps, classes in grid:
        rounds = ROUNDS[setting.scale] * STEPS[0] // steps
        run = federated(setting, lr, steps, rounds)
        if algorithm in OTHERS:
            run = replace(run, algorithm=OTHERS[algorithm](lr=lr, batch_size=64, steps=steps))
        told = "" if algorithm == "FedAvg" else f"{algorithm}-"
        run = replace(
            run,
            partition=IID() if classes == most else ClassesPerClient(classes),
            name=f"{told}Nc{classes}-J{steps}-lr{lr:g}-R{rounds}",
        )
        settings: dict[str, str | float] = {"algorithm": algorithm, "classes": classes}
        settings |= {"steps": steps, "lr": lr, "rounds": rounds}
        cells.append(Cell(run, settings))
    length = f"{ROUNDS[setting.scale]} rounds at J = {STEPS[0]}"
    title = setting.title(NAME, length)

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw_all(results: Results, folder: Path) -> None:
        best = choose_best(results.runs, BY)
        of_fedavg, few = best["algorithm"] == "FedAvg", best["steps"] == STEPS[0]
        draw(best[of_fedavg], "J", most, title, folder / "heterogeneity.png")
        draw(best[few], "algorithm", most, title, folder / "algorithms.png")

    return Study(cells, report, draw_all, BY, setting.seeds)


def draw(best: pd.DataFrame, lines: str, most: int, title: str, file: Path) -> None:
    """Plots the test accuracy over the classes of a client, several lines.

    Args:
        best: the runs at their best rates, see `tuning.studies.study.choose_best`.
        lines: setting that has a line for each of its values, ``J`` or ``algorithm``.
        most: classes there are.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    shown = best.assign(accuracy=100 * best["test_accuracy"], J=best["steps"].astype(str))
    with drawing(file, title=title) as [axes]:
        look = {"hue": lines, "style": lines, "markers": True}
        sns.lineplot(shown, x="classes", y="accuracy", ax=axes, **look)
        axes.set_xscale("log")
        classes = sorted(set(best["classes"]))
        axes.set_xticks(classes, [f"{each}" if each < most else "iid" for each in classes])
        axes.minorticks_off()
        axes.set(xlabel="classes of a client", ylabel="test accuracy, %", ylim=(0, None))
        axes.grid(alpha=0.3)
