"""Two-level optimizers: what the server does with the workers' average, over the local steps J.

The inner optimizer is SGDM, but for DiLoCo's AdamW. Hierarchical local SGD averages its groups, of
two workers each, in every fourth round.
"""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from raydl import Run
from raydl.algorithms import DiLoCo, HierarchicalLocalSGD, LocalSGD, SlowMo
from raydl.optim import SGD, AdamW, OptimizerSpec
from tuning.output import drawing
from tuning.studies.cifar100.protocol import NAME, base, best_rates
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

WORKERS = 4
STEPS = (16, 64, 4)  # the middle first, so that a part of the grid already has its plot
METHODS: dict[str, LocalSGD] = {
    "LocalSGD": LocalSGD(),
    "Hierarchical": HierarchicalLocalSGD(groups=2, every=4),
    **{f"SlowMo-{beta:g}": SlowMo(slow_momentum=beta) for beta in (0.6, 0.4, 0.8)},
    "DiLoCo": DiLoCo(optimizer=AdamW(weight_decay=0.05)),
}
DECAY = 2e-3  # of SGDM
# Slow momentum multiplies the way that a round goes by up to 1 / (1 − β).
RATES: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("LocalSGD", "Hierarchical"), (0.05, 0.02, 0.1)),
    **dict.fromkeys(("SlowMo-0.4", "SlowMo-0.6"), (0.02, 0.01, 0.05)),
    "SlowMo-0.8": (0.01, 0.005, 0.02),
    "DiLoCo": (1e-3, 5e-4, 2e-3),
}
BY = ["method", "steps"]
EPOCHS: dict[Scale, int] = {"smoke": 4, "short": 5, "full": 150}


def two_level(setting: Setting) -> Study:
    """SlowMo, DiLoCo and hierarchical beside plain local SGD: 4 workers, over J local steps."""
    run = base(setting, EPOCHS[setting.scale])
    grid = (range(1), (2,)) if setting.smoke else (range(3), STEPS)
    cells = [
        _cell(run, name, steps, RATES[name][rate])
        for rate, steps in product(*grid)
        for name in METHODS
    ]
    length = f"{run.epochs} epochs"
    title = setting.title(NAME, f"{length}, {WORKERS} workers")

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, BY), title, folder / "two_level.png")

    return Study(cells, report, draw_all, BY, setting.seeds)


def _cell(run: Run, name: str, steps: int, lr: float) -> Cell:
    method = METHODS[name]
    optimizer: OptimizerSpec = SGD(lr, weight_decay=DECAY)
    if isinstance(method.optimizer, AdamW):
        optimizer = replace(method.optimizer, lr=lr)
    algorithm = replace(method, workers=WORKERS, steps=steps, optimizer=optimizer)
    settings: CellSettings = {
        "method": name,
        "steps": steps,
        "lr": lr,
        "epochs": int(run.epochs or 0),
    }
    called = f"{name}-K{WORKERS}-J{steps}-lr{lr:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, name=called), settings)


def draw(best: pd.DataFrame, title: str, file: Path) -> None:
    """Plots the test accuracy over J, a line for each method.

    Args:
        best: the runs at their best rates, see `tuning.studies.study.chosen`.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    shown = best.assign(accuracy=100 * best["test_accuracy"])
    with drawing(file, width=8, title=title) as [axes]:
        sns.lineplot(shown, x="steps", y="accuracy", hue="method", marker="o", ax=axes)
        axes.set_xscale("log", base=2)
        steps = sorted(set(best["steps"]))
        axes.set_xticks(steps, [f"{each}" for each in steps])
        axes.set(xlabel="local steps J", ylabel="test accuracy, %")
        axes.grid(alpha=0.3)
        sns.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), frameon=False)
