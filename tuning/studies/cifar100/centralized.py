"""Centralized training: the baseline, its rate and decay by validation, and its four curves."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pandas as pd

from raydl import Evaluation, Run
from raydl.algorithms import DataParallel
from raydl.optim import SGD
from tuning.output import drawing, markdown
from tuning.studies.cifar100.protocol import accuracies, base
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study

CHOSEN = SGD(lr=0.02, weight_decay=2e-3)  # a rate of .02 is the best after 15 epochs
RATES: dict[Scale, tuple[float, ...]] = {"smoke": (0.02, 0.05), "short": (0.02, 0.01, 0.05)}
DECAYS: dict[Scale, tuple[float, ...]] = {"smoke": (2e-3,), "short": (2e-3, 1e-3, 4e-3)}
EPOCHS: dict[Scale, int] = {"smoke": 2, "short": 15, "full": 150}
NAME = "centralized"


def centralized(setting: Setting) -> Study:
    """SGDM on one worker, B = 64, cosine: rates and decays by validation, or the long run.

    Full is the run of 150 epochs at the chosen rate and decay, its test set scored after each epoch
    for the curves; short is the table of rates and decays at 15 epochs that they were chosen by;
    smoke is both in small.
    """
    scale = setting.scale
    run = base(setting, EPOCHS[scale])
    pairs = product(DECAYS.get(scale, ()), RATES.get(scale, ()))
    cells = [_cell(run, SGD(lr, weight_decay=decay)) for decay, lr in pairs]
    if scale != "short":
        cells.append(_cell(replace(run, evaluation=Evaluation(test="each")), CHOSEN, NAME))

    def draw(results: Results, folder: Path) -> None:
        table = results.rounds[results.rounds["name"] == NAME]
        if len(table):  # of short there is none
            draw_curves(table, folder / "curves.png")

    return Study(cells, lambda results: _report(results.runs), draw, ["name"], setting.seeds)


def _cell(run: Run, optimizer: SGD, name: str | None = None) -> Cell:
    settings: CellSettings = {
        "lr": optimizer.lr,
        "weight_decay": optimizer.weight_decay,
        "epochs": int(run.epochs or 0),
    }
    name = name or f"lr{optimizer.lr:g}-decay{optimizer.weight_decay:g}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=DataParallel(optimizer), name=name), settings)


def _report(results: pd.DataFrame) -> str:
    rows = [
        {
            "lr": row["lr"],
            "weight decay": row["weight_decay"],
            "epochs": row["epochs"],
            "seed": row["seed"],
            **accuracies(row),
            "train loss": row["train_loss"],
            "test loss": row["test_loss"],
            "wall seconds": round(row["wall_seconds"], 0),
        }
        for row in results.sort_values("val_accuracy", ascending=False).to_dict("records")
    ]
    table = markdown(pd.DataFrame(rows), (".4g",) * 4 + (".2f", ".2f", ".3f", ".3f", ".0f"))
    return f"## SGDM, one worker, B = 64: the best in validation first\n\n{table}\n\n"


def draw_curves(table: pd.DataFrame, file: Path) -> None:
    """Plots loss and accuracy over the epochs, of training and of the test set.

    Those of training are means over the epoch, of augmented samples and of parameters that moved
    meanwhile.

    Args:
        table: the rows of a run that scored the test set each time, finished or not yet: columns
            epochs, train_loss, train_accuracy, test_loss and test_accuracy.
        file: PNG to write.
    """
    scored = table.dropna(subset=["test_loss"])
    with drawing(file, panels=2, width=10) as panels:
        for axes, metric, factor, label in (
            (panels[0], "loss", 1, "cross-entropy"),
            (panels[1], "accuracy", 100, "accuracy, %"),
        ):
            for split, style in (("train", "--"), ("test", "-")):
                axes.plot(
                    scored["epochs"], factor * scored[f"{split}_{metric}"], style, label=split
                )
            axes.set(xlabel="epochs", ylabel=label)
            axes.set_ylim(bottom=0)
            axes.grid(alpha=0.3)
            axes.legend()
        last = scored.iloc[-1]
        accuracy = f"{100 * last['test_accuracy']:.1f} % on the test set"
        panels[1].set_title(f"{accuracy} after {last['epochs']:.0f} epochs")
