"""What a study is: a question, the runs that answer it, and the tables and plots of the answer.

A study is a function from a `Setting` to a `Study`, a set of runs side by side, or to a `Search`, a
sweep. All of them are in `tuning.studies.registry`, and are carried out here. A finished run's row
is in ``results.csv`` and its curve in ``histories.csv``, which can be taken elsewhere: there, a
study goes on with the runs that have no row.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import pandas as pd
from rich.console import Console

from raydl import Run
from raydl.run_folder.record import SPLITS
from raydl.storage import Folder
from tuning.metric import ACCURACY, Metric
from tuning.studies.grid import Cell, Grid
from tuning.sweep import SPEC, SweepConfig, sweep

Scale: TypeAlias = Literal["smoke", "short", "full"]
HISTORY = (  # of a run's rows, beside the loss and the metric of each split
    "round",
    "epochs",
    "samples",
    "lost",
    "late",
    "simulated_seconds",
    "staleness",
    "max_staleness",
    "messages",
)


@dataclass(frozen=True)
class Setting:
    """How large a study is to be, and where.

    Args:
        scale: size of the study: full is the published protocol; short is a part of it that fits
            into hours; smoke takes seconds, on made-up data.
        root: folder that holds the real data as torchvision lays it out; downloaded if not there.
        output: folder of the tables, the plots, and the runs in ``runs/``.
    """

    scale: Scale
    root: str
    output: str

    @property
    def smoke(self) -> bool:
        """Whether it is only to be seen that the study works."""
        return self.scale == "smoke"

    @property
    def storage(self) -> str:
        """The folder of the runs."""
        return f"{self.output}/runs"

    @property
    def seeds(self) -> tuple[int, ...]:
        """With which the runs that a number is claimed of are done again."""
        return (2, 3) if self.scale == "full" else ()

    def title(self, data: str, length: str) -> str:
        """What stands above a figure: the data, how long it was trained, and the scale.

        Args:
            data: its name.
            length: of the runs, such as ``5 epochs``.
        """
        data = "made-up data" if self.smoke else data
        return f"{data}, {length}" + ("" if self.scale == "full" else f" (scale {self.scale})")


class Results(NamedTuple):
    """What came of the runs of a study that are done.

    Attributes:
        runs: a row for each, see `tuning.studies.grid.Grid.results`.
        rounds: a row for each round that was scored, of those that finished, with the run's
            ``name``, `HISTORY`, and the loss and the metric of each split; without those whose
            history is not here.
    """

    runs: pd.DataFrame
    rounds: pd.DataFrame


class Study(NamedTuple):
    """Runs, and what is made of them.

    Attributes:
        cells: the runs, in the order in which they are done.
        report: makes the tables, as Markdown, of the results so far.
        draw: plots the results so far, into files of a folder.
        by: settings between which nothing is chosen: of the runs that share them, the one that did
            best in validation is done again with other seeds.
        seeds: those seeds.
        metric: of the runs' task, by which they are compared.
    """

    cells: Sequence[Cell]
    report: Callable[[Results], str]
    draw: Callable[[Results, Path], None]
    by: Sequence[str] = ()
    seeds: Sequence[int] = ()
    metric: Metric = ACCURACY


class Search(NamedTuple):
    """A sweep, which draws and reports by itself; see `tuning.sweep.sweep`."""

    run: Run
    space: Mapping[str, Mapping[str, Any]]
    plan: SweepConfig


def carry_out(study: Study | Search, setting: Setting, processes: int, console: Console) -> None:
    """Does what a study has left to do, and writes its tables and plots anew after each run.

    Args:
        study: what is to be done.
        setting: where.
        processes: number of runs that are done at the same time.
        console: is told of every run, and of the tables at the end.

    Raises:
        SpecError: before any work, if the runs cannot be done so.
        Interrupted: after SIGINT or SIGTERM.
    """
    if isinstance(study, Search):
        run = replace(study.run, storage=setting.output)
        plan = replace(study.plan, concurrent=processes)
        there = (Folder(run.storage) / plan.name).has(SPEC)
        path = sweep(run, study.space, plan, resume=there, console=console).path
        console.print(f"\nreport.md and the plots are in {path}", highlight=False, soft_wrap=True)
        return
    folder, text = Path(setting.output), ""
    for runs in _done(study, folder, processes, console):
        results = Results(runs, _histories(runs, folder, study.metric))
        text = study.report(results)
        (folder / "tables.md").write_text(text)
        study.draw(results, folder)
    console.print(
        f"\n{text}results.csv, histories.csv, tables.md and the plots are in {folder}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _done(study: Study, folder: Path, processes: int, console: Console) -> Iterator[pd.DataFrame]:
    """The table of the runs, after each of them; at last those with other seeds."""
    runs = pd.DataFrame()
    metric = study.metric
    for runs in Grid(study.cells, folder, processes, console, metric).results():
        yield runs
    if study.seeds:
        best = choose_best(runs, study.by, metric)
        names = set(best.loc[best["outcome"] == "finished", "name"])
        again = [
            Cell(replace(run, seed=seed, name=f"{run.name}-seed{seed}"), settings)
            for seed in study.seeds
            for run, settings in study.cells
            if run.name in names
        ]
        yield from Grid([*study.cells, *again], folder, processes, console, metric).results()


def choose_best(runs: pd.DataFrame, by: Sequence[str], metric: Metric = ACCURACY) -> pd.DataFrame:
    """Of the runs with the same settings the one whose rate was the best in validation.

    Where all the rates diverged, it is one of those runs.

    Args:
        runs: a row for each run.
        by: the settings' columns.
        metric: by which they are compared.

    Returns:
        A row for each of the settings, in the order in which they come, with the number of
        ``rates`` tried; the metric on the test set is the mean over the ``seeds`` that it was done
        with, and ``test_std`` their standard deviation, missing for a single one.
    """
    best, test = [], metric.column_of("test")
    for _, each in runs.groupby(list(by), sort=False):
        first = each[each["seed"] == each["seed"].iloc[0]]
        others = each.loc[each["seed"] != each["seed"].iloc[0], test]
        row = metric.best_first(first).iloc[:1]
        tested = pd.concat([row[test], others])
        measured = {test: tested.mean(), "test_std": tested.std(), "seeds": len(tested)}
        best.append(row.assign(rates=len(first), **measured))
    table: pd.DataFrame = pd.concat(best, ignore_index=True)
    return table


def _histories(runs: pd.DataFrame, folder: Path, metric: Metric) -> pd.DataFrame:
    """The scored rounds of the runs, which are kept in ``histories.csv``."""
    file, scores = folder / "histories.csv", [each for s in SPLITS for each in metric.columns(s)]
    columns = ["name", *HISTORY, *scores]
    kept = pd.read_csv(file).reindex(columns=columns) if file.exists() else None
    there = set() if kept is None else set(kept["name"])
    finished = runs.loc[runs["outcome"] == "finished", "name"]
    tables = {name: folder / "runs" / name / "metrics.parquet" for name in finished}
    new = [
        pd.read_parquet(table)
        .dropna(subset=[metric.column_of(split) for split in ("val", "test")], how="all")
        .assign(name=name)
        .reindex(columns=columns)  # of training there is not every metric
        for name, table in tables.items()
        if name not in there and table.exists()
    ]
    if new:
        # Objects, since a column may be missing throughout in one of them.
        parts = [each.astype(object) for each in ([] if kept is None else [kept]) + new]
        kept = pd.concat(parts, ignore_index=True).infer_objects()
        kept.to_csv(file, index=False)
    kept = pd.DataFrame(columns=columns) if kept is None else kept
    return kept[kept["name"].isin(set(runs["name"]))]
