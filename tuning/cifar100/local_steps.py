"""Local steps: LocalSGD and SlowMo over K workers and J steps, each at the best of a few rates."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from raydl import Run
from raydl.algorithms import LocalSGD, SlowMo
from raydl.optim.specs import SGD
from tuning.cifar100.protocol import Scale, accuracies, base, carry_out, chosen
from tuning.grid import Cell
from tuning.study import drawing, markdown

METHODS = {"LocalSGD": LocalSGD(), "SlowMo": SlowMo(slow_momentum=0.6)}
DECAY, BATCH = 2e-3, 64  # of each worker
# The middle first, so that a part of the grid already has its heat map. Slow momentum multiplies
# the way that a round goes by up to 1 / (1 − β).
RATES = {"LocalSGD": (0.05, 0.02, 0.1), "SlowMo": (0.02, 0.01, 0.05)}
WORKERS, STEPS = (2, 4, 8), (4, 16, 64)
CELL = ["method", "workers", "steps"]  # of the grid, with several rates each
EPOCHS: dict[Scale, int] = {"smoke": 6, "short": 5, "full": 150}


def local_steps(
    data_root: str = "data",
    output: str = "runs/cifar100/local_steps",
    scale: Scale = "short",
    processes: int = 1,
) -> None:
    """LocalSGD and SlowMo over K workers and J local steps, each at its best rate in validation.

    Args:
        data_root: folder that holds CIFAR-100 as torchvision lays it out; downloaded if not there.
        output: folder of the runs, results.csv, tables.md and local_steps.png.
        scale: short takes 5 epochs, full 150; all the workers together go through so many samples.
            smoke takes a part of the grid, on made-up images.
        processes: so many runs are done at the same time.
    """
    run = base(data_root, output, scale, EPOCHS[scale])
    grid = (range(3), WORKERS, STEPS)
    if scale == "smoke":
        grid = (range(2), WORKERS[:1], STEPS[:2])
    cells = [
        _cell(run, name, workers, steps, RATES[name][rate])
        for rate, workers, steps in product(*grid)
        for name in METHODS
    ]
    file = Path(output) / "local_steps.png"
    carry_out(cells, output, processes, _report, lambda results: draw(chosen(results, CELL), file))


def _cell(run: Run, name: str, workers: int, steps: int, lr: float) -> Cell:
    optimizer = SGD(lr, weight_decay=DECAY)
    algorithm = replace(
        METHODS[name], workers=workers, steps=steps, optimizer=optimizer, batch_size=BATCH
    )
    settings = {
        "method": name,
        "workers": workers,
        "steps": steps,
        "lr": lr,
        "weight_decay": DECAY,
        "epochs": int(run.epochs or 0),
    }
    called = f"{name}-K{workers}-J{steps}-lr{lr:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, name=called), settings)


def _report(results: pd.DataFrame) -> str:
    rows = [
        {
            "method": row["method"],
            "K": row["workers"],
            "J": row["steps"],
            "lr": row["lr"],
            "rates tried": row["rates"],
            **accuracies(row),
            "samples": row["samples"],
            "messages": row["messages"],
            "sent down, MB": row["bytes_down"] / 1e6,
            "sent up, MB": row["bytes_up"] / 1e6,
            "wall seconds": round(row["wall_seconds"], 0),
        }
        for row in chosen(results, CELL).sort_values(CELL).to_dict("records")
    ]
    forms = ("", "", "", ".4g", "", ".2f", ".2f", "", "", ",.1f", ",.1f", ".0f")
    every = results.set_index([*CELL, "lr"])["val_accuracy"].unstack("lr")
    every = (100 * every).rename(columns="lr {:g}".format).reset_index()
    every = every.rename(columns={"workers": "K", "steps": "J"})
    epochs = results["epochs"].iloc[0]
    return (
        f"## The best rate in validation, after {epochs} epochs\n\n"
        f"{markdown(pd.DataFrame(rows), forms)}\n\n"
        "## Validation accuracy in percent, of every rate that did not diverge\n\n"
        f"{markdown(every)}\n\n"
    )


def draw(best: pd.DataFrame, file: Path) -> None:
    """Draws a heat map of the test accuracy over K and J for each method, the rate in the cells.

    A cell is empty if its runs diverged, or are not done yet.
    """
    import seaborn as sns

    best = best.assign(accuracy=100 * best["test_accuracy"])
    best["told"] = [f"{row.accuracy:.1f}\nlr {row.lr:g}" for row in best.itertuples()]
    methods = [name for name in METHODS if name in set(best["method"])]
    rows, columns = (sorted(set(best[name])) for name in ("workers", "steps"))
    extent = {"vmin": best["accuracy"].min(), "vmax": best["accuracy"].max(), "cmap": "viridis"}
    with drawing(file, len(methods), width=1 + 4.5 * len(methods)) as panels:
        for axes, name in zip(panels, methods, strict=True):
            cells = best[best["method"] == name].pivot(index="workers", columns="steps")
            values, told = (
                cells[each].reindex(index=rows, columns=columns) for each in ("accuracy", "told")
            )
            sns.heatmap(values, annot=told, fmt="", ax=axes, cbar=name == methods[-1], **extent)
            axes.set(title=name, xlabel="local steps J", ylabel="workers K")
        panels[-1].collections[0].colorbar.set_label("test accuracy, %")
