"""Local steps: LocalSGD and SlowMo over K workers and J steps, each at the best of a few rates."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from raydl import Run
from raydl.algorithms import LocalSGD, SlowMo
from raydl.optim import SGD
from tuning.output import drawing
from tuning.studies.cifar100.protocol import NAME, base, best_rates
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

METHODS: dict[str, LocalSGD] = {"LocalSGD": LocalSGD(), "SlowMo": SlowMo(slow_momentum=0.6)}
DECAY, BATCH = 2e-3, 64  # of each worker
# The middle first, so that a part of the grid already has its heat map. Slow momentum multiplies
# the way that a round goes by up to 1 / (1 − β).
RATES = {"LocalSGD": (0.05, 0.02, 0.1), "SlowMo": (0.02, 0.01, 0.05)}
WORKERS, STEPS = (2, 4, 8), (4, 16, 64)
CELL = ["method", "workers", "steps"]  # of the grid, with several rates each
EPOCHS: dict[Scale, int] = {"smoke": 6, "short": 5, "full": 150}


def local_steps(setting: Setting) -> Study:
    """LocalSGD and SlowMo over K workers and J local steps, each at its best rate in validation.

    All the workers together go through as many samples as one in so many epochs.
    """
    run = base(setting, EPOCHS[setting.scale])
    grid: tuple[Sequence[int], ...] = (range(3), WORKERS, STEPS)
    if setting.smoke:
        grid = (range(2), WORKERS[:1], STEPS[:2])
    cells = [
        _cell(run, name, workers, steps, RATES[name][rate])
        for rate, workers, steps in product(*grid)
        for name in METHODS
    ]
    length = f"{run.epochs} epochs"
    title = setting.title(NAME, length)

    def report(results: Results) -> str:
        return best_rates(results.runs, CELL, length)

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, CELL), title, folder / "local_steps.png")

    return Study(cells, report, draw_all, CELL, setting.seeds)


def _cell(run: Run, name: str, workers: int, steps: int, lr: float) -> Cell:
    optimizer = SGD(lr, weight_decay=DECAY)
    algorithm = replace(
        METHODS[name], workers=workers, steps=steps, optimizer=optimizer, batch_size=BATCH
    )
    settings: CellSettings = {
        "method": name,
        "workers": workers,
        "steps": steps,
        "lr": lr,
        "weight_decay": DECAY,
        "epochs": int(run.epochs or 0),
    }
    called = f"{name}-K{workers}-J{steps}-lr{lr:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, name=called), settings)


def draw(best: pd.DataFrame, title: str, file: Path) -> None:
    """Draws a heat map of the test accuracy over K and J for each method, the rate in the cells.

    A cell is empty if its runs diverged, or are not done yet.
    """
    import seaborn as sns

    best = best.assign(accuracy=100 * best["test_accuracy"])
    best["told"] = [f"{row.accuracy:.1f}\nlr {row.lr:g}" for row in best.itertuples()]
    methods = [name for name in METHODS if name in set(best["method"])]
    rows, columns = (sorted(set(best[name])) for name in ("workers", "steps"))
    extent = {"vmin": best["accuracy"].min(), "vmax": best["accuracy"].max(), "cmap": "viridis"}
    with drawing(file, len(methods), 1 + 4.5 * len(methods), title) as panels:
        for axes, name in zip(panels, methods, strict=True):
            cells = best[best["method"] == name].pivot(index="workers", columns="steps")
            values, told = (
                pd.DataFrame(cells[each], rows, columns) for each in ("accuracy", "told")
            )
            sns.heatmap(values, annot=told, fmt="", ax=axes, cbar=name == methods[-1], **extent)
            axes.set(title=name, xlabel="local steps J", ylabel="workers K")
        colorbar = panels[-1].collections[0].colorbar
        assert colorbar is not None
        colorbar.set_label("test accuracy, %")
