"""Heterogeneity: clients that have N_c of the classes each, over J local steps."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from raydl.data import IID, ClassesPerClient
from tuning.output import drawing
from tuning.studies.cifar100.protocol import MADE_UP, NAME, best_rates, federated
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

CLASSES = (1, 5, 10, 50, 100)  # of a client; at 100 the clients are iid
STEPS = (4, 8, 16)
RATES = (0.1, 0.05)
BY = ["classes", "steps"]
# At J = 4; in proportion fewer at more, so that all runs go through as many samples.
ROUNDS: dict[Scale, int] = {"smoke": 4, "short": 100, "full": 2000}


def heterogeneity(setting: Setting) -> Study:
    """FedAvg on clients with 1, 5, 10, 50 or all of the classes, J = 4, 8 and 16."""
    smoke = setting.smoke
    most = MADE_UP.classes if smoke else CLASSES[-1]
    grid = [
        (lr, steps, classes)
        for lr in (RATES[:1] if smoke else RATES)
        for steps in (STEPS[:2] if smoke else STEPS)
        for classes in ((1, 5, most) if smoke else CLASSES)
    ]
    cells = []
    for lr, steps, classes in grid:
        rounds = ROUNDS[setting.scale] * STEPS[0] // steps
        run = replace(
            federated(setting, lr, steps, rounds),
            partition=IID() if classes == most else ClassesPerClient(classes),
            name=f"Nc{classes}-J{steps}-lr{lr:g}-R{rounds}",
        )
        settings = {"classes": classes, "steps": steps, "lr": lr, "rounds": rounds}
        cells.append(Cell(run, settings))
    length = f"{ROUNDS[setting.scale]} rounds at J = {STEPS[0]}"
    title = setting.title(NAME, length)

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, BY), most, title, folder / "heterogeneity.png")

    return Study(cells, report, draw_all, BY, setting.seeds)


def draw(best: pd.DataFrame, most: int, title: str, file: Path) -> None:
    """Plots the test accuracy over the classes of a client, a line for each J.

    Args:
        best: the runs at their best rates, see `tuning.studies.study.chosen`.
        most: classes there are.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    shown = best.assign(accuracy=100 * best["test_accuracy"], J=best["steps"].astype(str))
    with drawing(file, title=title) as [axes]:
        sns.lineplot(shown, x="classes", y="accuracy", hue="J", style="J", markers=True, ax=axes)
        axes.set_xscale("log")
        classes = sorted(set(best["classes"]))
        axes.set_xticks(classes, [f"{each}" if each < most else "iid" for each in classes])
        axes.minorticks_off()
        axes.set(xlabel="classes of a client", ylabel="test accuracy, %", ylim=(0, None))
        axes.grid(alpha=0.3)
