"""Large batches: how far each optimizer goes, at a fixed rate and at one scaled with the batch."""

from dataclasses import replace
from pathlib import Path

import pandas as pd

from raydl import Run
from raydl.algorithms import DataParallel
from raydl.optim import LAMB, LARS, SGD, AdamW
from raydl.optim.scaling import Scaling, scale_rate
from raydl.optim.schedule import Cosine
from tuning.output import drawing, markdown
from tuning.studies.cifar100.protocol import NAME, accuracies, base
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

# Rates and decays are those for B = 64.
BASE_BATCH = 64
OPTIMIZERS: dict[str, SGD | AdamW | LARS | LAMB] = {
    "SGDM": SGD(lr=0.02, weight_decay=2e-3),
    "AdamW": AdamW(lr=1e-3, weight_decay=0.05),
    "LARS": LARS(lr=1.5, weight_decay=1e-3, trust=1e-3),
    "LAMB": LAMB(lr=2e-3, weight_decay=0.01),
}
# Which rates each is tried with; a scaled one is warmed up over this part of the run.
RULES: list[tuple[str, Scaling]] = [
    ("SGDM", "none"),
    ("SGDM", "linear"),
    ("AdamW", "none"),
    ("AdamW", "sqrt"),
    ("LARS", "sqrt"),
    ("LAMB", "sqrt"),
]
WARMUP = 0.1
MICROBATCH = 256
BATCHES = (128, 512, 2048, 8192)
EPOCHS: dict[Scale, int] = {"smoke": 1, "short": 15, "full": 150}
CELL = ["optimizer", "scaling", "batch_size"]
LOSS = 1.0  # points of accuracy: more are a loss that counts


def large_batch(setting: Setting) -> Study:
    """SGDM, AdamW, LARS and LAMB over the batch, at fixed and at scaled and warmed-up rates."""
    epochs = EPOCHS[setting.scale]
    run = replace(base(setting, epochs), microbatch=MICROBATCH)
    batches = (32, 128) if setting.smoke else BATCHES
    cells = [_cell(run, name, rule, batch) for batch in batches for name, rule in RULES]
    title = setting.title(NAME, f"{epochs} epochs")

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, CELL), title, folder / "large_batch.png")

    return Study(cells, lambda results: _report(results.runs), draw_all, CELL, setting.seeds)


def _cell(run: Run, name: str, rule: Scaling, batch: int) -> Cell:
    optimizer = OPTIMIZERS[name]
    warmup = 0.0 if rule == "none" else WARMUP
    algorithm = DataParallel(optimizer, Cosine(warmup), batch, scaling=rule, base_batch=BASE_BATCH)
    settings: CellSettings = {
        "optimizer": name,
        "scaling": rule,
        "batch_size": batch,
        "lr": scale_rate(optimizer.lr, batch, BASE_BATCH, rule),
        "weight_decay": optimizer.weight_decay,
        "warmup": warmup,
        "epochs": int(run.epochs or 0),
    }
    called = f"{name}-{rule}-B{batch}-E{run.epochs:g}"
    return Cell(replace(run, algorithm=algorithm, name=called), settings)


def _report(results: pd.DataFrame) -> str:
    rows = [
        {
            "optimizer": row["optimizer"],
            "scaling": row["scaling"],
            "B": row["batch_size"],
            "lr": row["lr"],
            "seed": row["seed"],
            "steps": row["local_steps"],
            **accuracies(row),
            "train loss": row["train_loss"],
            "wall seconds": round(row["wall_seconds"], 0),
            "outcome": row["outcome"],
        }
        for row in results.to_dict("records")
    ]
    forms = ("", "", "", ".4g", "", "", ".2f", ".2f", ".3f", ".0f", "")
    epochs = results["epochs"].iloc[0]
    return (
        f"## Test accuracy in percent after {epochs} epochs, over the batch\n\n"
        f"{markdown(over_batches(choose_best(results, CELL)))}\n\n"
        f"## Every run\n\n{markdown(pd.DataFrame(rows), forms)}\n\n"
    )


def over_batches(results: pd.DataFrame) -> pd.DataFrame:
    """The test accuracies in percent, a row for each optimizer and rule, a column for each batch.

    They are means over the seeds. The last column is the largest batch up to which none, of those
    that were run, lost more than `LOSS` points against the smallest.
    """
    rows = []
    for (name, rule), cells in results.groupby(["optimizer", "scaling"], sort=False):
        of = dict(zip(cells["batch_size"], 100 * cells["test_accuracy"], strict=True))
        reached, least = None, of[min(of)] - LOSS
        for batch in sorted(of):
            if not of[batch] >= least:  # also of one that diverged
                break
            reached = batch
        columns = {f"B = {batch}": of[batch] for batch in sorted(of)}
        rows.append({"optimizer": name, "scaling": rule, **columns, "no loss up to": reached})
    return pd.DataFrame(rows)


def draw(results: pd.DataFrame, title: str, file: Path) -> None:
    """Plots the test accuracy over the batch, a line for each optimizer and rule."""
    import seaborn as sns

    shown = results.assign(accuracy=100 * results["test_accuracy"])
    with drawing(file, width=9) as [axes]:
        sns.lineplot(
            shown.rename(columns={"scaling": "scaling of the rate"}),
            x="batch_size",
            y="accuracy",
            hue="optimizer",
            style="scaling of the rate",
            markers=True,
            ax=axes,
        )
        axes.set_xscale("log", base=2)
        batches = sorted(set(results["batch_size"]))
        axes.set_xticks(batches, [f"{batch:,}" for batch in batches])
        axes.set(title=title, xlabel="batch B", ylabel="test accuracy, %")
        axes.grid(alpha=0.3)
        sns.move_legend(axes, "center left", bbox_to_anchor=(1, 0.5), frameon=False)
