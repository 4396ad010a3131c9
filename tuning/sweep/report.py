"""A sweep's report: the best setting, what it scores, the table and the plots."""

from itertools import combinations
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import yaml

from raydl import options
from raydl.storage import Folder
from tuning.study import markdown
from tuning.sweep.space import Space
from tuning.sweep.trials import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = ["outcome", "val_accuracy", "round", "local_steps", "bytes_up", "wall_seconds"]


class Outcome(NamedTuple):
    """What a sweep came to.

    Attributes:
        trials: a row each; see `tuning.sweep.trials.Trials.search`.
        best: the row of the finished trial that did best in validation; None if none finished.
        winner: the rows of its runs with several seeds, scored on the test set.
        path: of the sweep's folder.
    """

    trials: list[Row]
    best: Row | None
    winner: list[Row]
    path: str


def write(folder: Folder, space: Space, outcome: Outcome) -> None:
    """Writes ``report.md``, its plots, and ``best.yaml``, the best setting's run."""
    table = pd.DataFrame(outcome.trials)
    counts = table["outcome"].value_counts()
    text = f"# Sweep {folder.name}\n\n"
    text += ", ".join(f"{count} {kind}" for kind, count in counts.items()) + ".\n\n"
    if outcome.best is not None:
        run = space.at(space.settings(outcome.best))
        spec = options.to_mapping(run) | {"evaluation": {"test": "end"}}
        folder.write("best.yaml", yaml.safe_dump(spec, sort_keys=False).encode())
        text += f"## Best setting\n\n{_best(space, outcome)}\n\nTrain it again with\n\n"
        text += f"    raydl run --config {folder.uri}/best.yaml\n\n"
    shown = table.sort_values("val_accuracy", ascending=False, na_position="last")
    shown = shown[["number", *space.fields, *_COLUMNS, "reason"]]
    text += f"## Trials\n\n{markdown(shown, '.4g')}\n"
    for name, figure in figures(table, space).items():
        with folder.writing(name) as stream:
            figure.savefig(stream, dpi=150, format="png")
        text += f"\n![{name.removesuffix('.png')}]({name})\n"
    folder.write("report.md", text.encode())


def _best(space: Space, outcome: Outcome) -> str:
    assert outcome.best is not None
    settings = space.settings(outcome.best).items()
    text = "\n".join(f"- {field}: {value}" for field, value in settings)
    text += f"\n\nValidation accuracy {100 * outcome.best['val_accuracy']:.2f} % "
    text += f"(trial {outcome.best['number']:04d}). "
    scores = pd.Series([row["test_accuracy"] for row in outcome.winner], dtype=float)
    finished = 100 * scores.dropna()
    if finished.empty:
        return f"{text}None of its {len(scores)} runs with other seeds finished."
    spread = f" ± {finished.std():.2f}" if len(finished) > 1 else ""
    return (
        f"{text}Trained again, test accuracy {finished.mean():.2f}{spread} % (mean and standard "
        f"deviation over {len(finished)} of {len(scores)} seeds)."
    )


def figures(table: pd.DataFrame, space: Space) -> dict[str, "Figure"]:
    """Validation accuracy over each numeric field, and over each two of them that are listed.

    In a line each point is the best of the trials with that value, whatever the other fields were;
    so is each cell of a heat map.
    """
    scored = table.dropna(subset="val_accuracy")
    listed = [field for field in space.numeric if field not in space.ranges]
    swept = [field for field in space.numeric if scored[field].nunique() > 1]
    made = {f"{field}.png": _line(scored, field, field in space.ranges) for field in swept}
    return made | {
        f"{first}-{second}.png": _heat_map(scored, first, second)
        for first, second in combinations([each for each in listed if each in swept], 2)
    }


def _line(table: pd.DataFrame, field: str, drawn: bool) -> "Figure":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.0), layout="constrained")
    axes = figure.subplots()
    values = table[field].astype(float)
    axes.scatter(values, 100 * table["val_accuracy"], s=14, color="grey", label="trials")
    if not drawn:
        best = 100 * table.groupby(values)["val_accuracy"].max()
        axes.plot(best.index, best, marker="o", label="best")
        axes.legend()
    if values.min() > 0 and values.max() >= 8 * values.min():
        axes.set_xscale("log")
    axes.set(xlabel=field, ylabel="validation accuracy (%)")
    return figure


def _heat_map(table: pd.DataFrame, first: str, second: str) -> "Figure":
    import seaborn as sns
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.0, 4.5), layout="constrained")
    cells = 100 * table.pivot_table("val_accuracy", first, second, aggfunc="max")
    sns.heatmap(cells, annot=True, fmt=".1f", ax=figure.subplots(), cmap="viridis")
    figure.axes[0].set_title("validation accuracy (%), other fields at their best")
    return figure
