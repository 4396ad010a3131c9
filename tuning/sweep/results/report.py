"""A sweep's report: the best setting, what it scores, the table and the plots."""

from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import yaml

from raydl import Run
from raydl.config import options
from raydl.storage import Folder
from tuning.metric import Metric
from tuning.output import TableRow, markdown
from tuning.sweep.results.figures import draw
from tuning.sweep.results.table import stages_of
from tuning.sweep.space import Space

_COLUMNS = ["round", "local_steps", "bytes_up", "wall_seconds"]


class Outcome(NamedTuple):
    """What a sweep came to.

    Attributes:
        trials: a row each; see `tuning.sweep.results.table.TrialTable`.
        best: the row of the finished trial that did best in validation; None if none finished.
        winner: the rows of its runs with several seeds, scored on the test set.
        path: of the sweep's folder.
    """

    trials: list[TableRow]
    best: TableRow | None
    winner: list[TableRow]
    path: str


def score_on_test(run: Run) -> Run:
    """The run as a winner: scored on the test set, once, at its end."""
    return replace(run, evaluation=replace(run.evaluation, test="end"))


def write(folder: Folder, space: Space, metric: Metric, outcome: Outcome) -> None:
    """Writes ``report.md``, its plots, and ``best.yaml``, the best setting's run."""
    table, best = pd.DataFrame(outcome.trials), outcome.best
    counts = table["outcome"].value_counts()
    text = f"# Sweep {folder.name}\n\n"
    text += ", ".join(f"{count} {kind}" for kind, count in counts.items()) + ".\n\n"
    if best is not None:
        text += f"## Best setting\n\n{_best(best, metric)}\n\n"
        text += f"{_scores(outcome.winner, metric)}\n\n" if outcome.winner else ""
        if len(stages_of(best)) == 1:
            spec = options.to_mapping(score_on_test(space.at(space.settings(best))))
            folder.write("best.yaml", yaml.safe_dump(spec, sort_keys=False).encode())
            text += "Train it again with\n\n    raydl run --config best.yaml\n\n"
    columns = ["number", *space.fields, "outcome", metric.column, *_COLUMNS, "reason"]
    shown = metric.best_first(table)[columns]
    text += f"## Trials\n\n{markdown(shown, '.4g')}\n"
    for name in draw(folder, table, space, metric, None if best is None else best["number"]):
        text += f"\n![{name.removesuffix('.png')}]({name})\n"
    folder.write("report.md", text.encode())


def _best(best: TableRow, metric: Metric) -> str:
    stages = stages_of(best)
    text = "\n".join(
        f"- {f'after round {stage.round}, ' if len(stages) > 1 else ''}{field}: {value}"
        for stage in stages
        for field, value in stage.settings.items()
    )
    reached = metric.text(best[metric.column])
    return f"{text}\n\nValidation {metric} {reached} (trial {best['number']:04d})."


def _scores(winner: list[TableRow], metric: Metric) -> str:
    scores = pd.Series([row[metric.column_of("test")] for row in winner], dtype=float)
    finished = scores.dropna()
    if finished.empty:
        return f"None of its {len(scores)} runs with other seeds finished."
    reached = metric.text(finished.mean(), finished.std() if len(finished) > 1 else None)
    return (
        f"Trained again, test {metric} {reached} (mean and standard deviation over "
        f"{len(finished)} of {len(scores)} seeds)."
    )
