"""Dynamic J: rules that decide the number of local steps as the training goes on, and their price.

Every rule begins or ends near J = 4 or J = 16, so that the constants are what it has to beat: the
accuracy of the one at the messages of the other.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd

from raydl import Run
from raydl.algorithms import LocalSGD
from raydl.algorithms.distributed.intervals import (
    QSR,
    AdaComm,
    Fixed,
    Growing,
    IntervalSpec,
    PostLocal,
)
from raydl.optim import SGD
from tuning.output import drawing
from tuning.studies.cifar100.protocol import NAME, base, best_rates
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

WORKERS, DECAY = 4, 2e-3
RATES = (0.05, 0.02, 0.1)
# J, and the rule by the rate: that of QSR is to grow from J = 4 as soon as the cosine falls.
RULES: dict[str, tuple[int, Callable[[float], IntervalSpec]]] = {
    "constant 4": (4, lambda lr: Fixed()),
    "constant 16": (16, lambda lr: Fixed()),
    "constant 64": (64, lambda lr: Fixed()),
    "post-local 16": (16, lambda lr: PostLocal()),
    "growing from 4": (4, lambda lr: Growing(factor=4.0)),
    "QSR from 4": (4, lambda lr: QSR(alpha=2 * lr)),
    "AdaComm from 16": (16, lambda lr: AdaComm()),
}
BY = ["rule"]
EPOCHS: dict[Scale, int] = {"smoke": 6, "short": 5, "full": 150}


def dynamic_steps(setting: Setting) -> Study:
    """LocalSGD with a constant, scheduled or adaptive J: 4 workers, accuracy against messages."""
    run = base(setting, EPOCHS[setting.scale])
    rates = RATES[:1] if setting.smoke else RATES
    cells = [_cell(run, rule, lr) for lr in rates for rule in RULES]
    length = f"{run.epochs} epochs"
    title = setting.title(NAME, f"{length}, {WORKERS} workers")

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, BY), title, folder / "dynamic_steps.png")

    return Study(cells, report, draw_all, BY, setting.seeds)


def _cell(run: Run, rule: str, lr: float) -> Cell:
    steps, interval = RULES[rule]
    optimizer = SGD(lr, weight_decay=DECAY)
    algorithm = LocalSGD(WORKERS, optimizer, steps=steps, interval=interval(lr))
    settings: CellSettings = {
        "rule": rule,
        "steps": steps,
        "lr": lr,
        "epochs": int(run.epochs or 0),
    }
    called = f"{rule.replace(' ', '-')}-K{WORKERS}-lr{lr:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, name=called), settings)


def draw(best: pd.DataFrame, title: str, file: Path) -> None:
    """Plots the test accuracy over the messages sent, a point for each rule.

    Args:
        best: the runs at their best rates, see `tuning.studies.study.chosen`.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    shown = best.assign(accuracy=100 * best["test_accuracy"])
    with drawing(file, width=8, title=title) as [axes]:
        constant = shown["rule"].str.startswith("constant")
        line = shown[constant].sort_values("messages")
        axes.plot(line["messages"], line["accuracy"], "--", color="gray", zorder=0)
        sns.scatterplot(
            shown, x="messages", y="accuracy", hue="rule", style=constant, s=90, ax=axes
        )
        axes.set_xscale("log")
        axes.set(xlabel="messages (dashed: constant J)", ylabel="test accuracy, %")
        axes.grid(alpha=0.3)
        handles, labels = axes.get_legend_handles_labels()
        rules = [each for each in zip(handles, labels, strict=True) if each[1] in RULES]
        axes.legend(*zip(*rules, strict=True), loc="center left", bbox_to_anchor=(1, 0.5))
