"""What the studies share: the data, the network, the arithmetic, and what a run is called.

CIFAR-100 with a tenth of the training set held out for validation, stratified; `CifarCNN`
(815,332 parameters); random crops and flips; bfloat16; one thread a run. Settings are chosen on the
validation set, and the test accuracy is that of the parameters at the end of the run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeAlias

import pandas as pd
from rich.console import Console

from raydl import Checkpointing, Model, Run
from raydl.data import CIFAR100, CropFlip, Synthetic
from raydl.runtimes.specs import Sequential
from tuning.grid import Cell, Grid
from tuning.study import Row

Scale: TypeAlias = Literal["smoke", "short", "full"]
_HISTORY = [
    "round",
    "epochs",
    "samples",
    "lost",
    "late",
    "simulated_seconds",
    "staleness",
    "max_staleness",
    "train_loss",
    "val_loss",
    "val_accuracy",
]


def base(data_root: str, output: str, scale: Scale, epochs: int) -> Run:
    """A run without an algorithm and a name; at the scale ``smoke``, on small made-up images."""
    smoke = scale == "smoke"
    made_up = Synthetic(samples=320, test=64, size=16, channels=3)
    return Run(
        data=made_up if smoke else CIFAR100(root=data_root),
        model=Model("CifarCNN"),
        augmentation=CropFlip(),
        runtime=Sequential(),
        epochs=epochs,
        seed=1,
        precision="bf16",
        checkpoint=Checkpointing(keep=1),
        storage=f"{output}/runs",
    )


def chosen(results: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """Of the runs with the same settings the one whose rate was the best in validation.

    Where all the rates diverged, it is one of those runs.

    Args:
        results: a row for each run.
        by: the settings' columns.

    Returns:
        A row for each of the settings, in the order in which they come, with the number of
        ``rates`` tried.
    """
    best = [
        each.sort_values("val_accuracy", ascending=False).iloc[:1].assign(rates=len(each))
        for _, each in results.groupby(list(by), sort=False)
    ]
    return pd.concat(best, ignore_index=True)


def histories(results: pd.DataFrame, output: str) -> pd.DataFrame:
    """The histories of the runs that are finished, a row for each round with the run's ``name``.

    They are kept in ``histories.csv`` beside ``results.csv``: a row there may have been brought
    without its run's folder.

    Args:
        results: a row for each run.
        output: folder of both files, and of ``runs``.
    """
    file = Path(output) / "histories.csv"
    kept = pd.read_csv(file) if file.exists() else None
    there = set() if kept is None else set(kept["name"])
    finished = results.loc[results["outcome"] == "finished", "name"]
    tables = {name: Path(output) / "runs" / name / "metrics.parquet" for name in finished}
    new = [
        pd.read_parquet(table)[_HISTORY].assign(name=name)
        for name, table in tables.items()
        if name not in there and table.exists()
    ]
    if new:
        kept = pd.concat([*([] if kept is None else [kept]), *new], ignore_index=True)
        kept[["name", *_HISTORY]].to_csv(file, index=False)
    return pd.DataFrame(columns=["name", *_HISTORY]) if kept is None else kept


def accuracies(row: Row) -> Row:
    """The accuracies of a run in percent; NaN if it diverged."""
    return {
        "validation, %": 100 * row["val_accuracy"],
        "test, %": 100 * row["test_accuracy"],
    }


def carry_out(
    cells: Sequence[Cell],
    output: str,
    processes: int,
    report: Callable[[pd.DataFrame], str],
    draw: Callable[[pd.DataFrame], None],
) -> None:
    """Does the runs of a study, and writes its tables and draws its plots anew after each of them.

    Args:
        cells: the runs, in the order in which they are done.
        output: folder of results.csv, tables.md and the plots.
        processes: so many runs are done at the same time.
        report: makes the tables, as Markdown, of the results so far.
        draw: plots the results so far.
    """
    folder, console = Path(output), Console()
    text = ""
    for results in Grid(cells, folder, processes, console).results():
        text = report(results)
        (folder / "tables.md").write_text(text)
        draw(results)
    console.print(
        f"\n{text}results.csv, tables.md and the plots are in {folder}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
