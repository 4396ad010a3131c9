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
