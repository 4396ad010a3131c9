"""Participation: some clients take part more often, by probabilities drawn from Dirichlet(γ).

FedAvg, and algorithms that take out what frequent clients have too much: each client remembered
(FedVARP, MIFA, FedFade), or its update weighted by one over its probability (HorvitzThompson).
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from raydl import Run
from raydl.algorithms import MIFA, FedAvg, FedFade, FedVARP, HorvitzThompson
from raydl.data import Skewed, Uniform
from raydl.data.participations.participation import ParticipationSpec
from tuning.output import drawing
from tuning.studies.cifar100.fedavg import ROUNDS, STEPS
from tuning.studies.cifar100.protocol import NAME, best_rates, federated
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Setting, Study, choose_best

GAMMAS = (5.0, 1.0, 0.5, 0.05)
PARTICIPATION: dict[str, ParticipationSpec] = {
    "uniform": Uniform(),
    **{f"γ = {gamma:g}": Skewed(gamma=gamma) for gamma in GAMMAS},
}
CORRECTED: dict[str, Callable[..., FedAvg]] = {
    "FedVARP": FedVARP,
    "MIFA": MIFA,
    "HorvitzThompson": partial(HorvitzThompson, normalized=True),
    "FedFade": FedFade,
}
RATES = (0.1, 0.05)
BY = ["participation", "algorithm"]


def participation(setting: Setting) -> Study:
    """FedAvg and corrections, clients drawn uniformly or with skew γ; and who is drawn."""
    rounds = ROUNDS[setting.scale]
    length = f"{rounds} rounds"
    skewed = list(PARTICIPATION)[-1 if setting.smoke else 1 :]
    grid = [("FedAvg", name) for name in PARTICIPATION] + [*product(CORRECTED, skewed)]
    cells = []
    for lr, (algorithm, name) in product(RATES[:1] if setting.smoke else RATES, grid):
        run = federated(setting, lr, STEPS, rounds)
        if algorithm in CORRECTED:
            corrected = CORRECTED[algorithm](lr=lr, batch_size=64, steps=STEPS)
            run = replace(run, algorithm=corrected)
        told = "" if algorithm == "FedAvg" else f"{algorithm}-"
        run = replace(
            run,
            participation=PARTICIPATION[name],
            name=f"{told}{name.replace('γ = ', 'gamma')}-lr{lr:g}-R{rounds}",
        )
        settings = {"participation": name, "algorithm": algorithm, "lr": lr, "rounds": rounds}
        cells.append(Cell(run, settings))
    title = setting.title(NAME, length)

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw_all(results: Results, folder: Path) -> None:
        draw(choose_best(results.runs, BY), title, folder / "participation.png")
        draw_sampling(cells[0].run, folder / "sampling.png")

    return Study(cells, report, draw_all, BY, setting.seeds)


def draw(best: pd.DataFrame, title: str, file: Path) -> None:
    """Plots the test accuracy over the skew, a line for each algorithm.

    Args:
        best: the runs at their best rates, see `tuning.studies.study.choose_best`.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    places = {name: at for at, name in enumerate(PARTICIPATION)}
    shown = best.assign(
        accuracy=100 * best["test_accuracy"], place=best["participation"].map(places)
    )
    with drawing(file, title=title) as [axes]:
        look = {"hue": "algorithm", "style": "algorithm", "markers": True, "dashes": False}
        sns.lineplot(shown, x="place", y="accuracy", ax=axes, **look)
        axes.set_xticks([*places.values()], [*places])
        axes.set(xlabel="participation", ylabel="test accuracy, %", ylim=(0, None))
        axes.grid(alpha=0.3)


def draw_sampling(run: Run, file: Path) -> None:
    """Plots the clients' probabilities to be drawn, in descending order, of every participation.

    Args:
        run: whose clients they are, and whose seed.
        file: PNG to write.
    """
    with drawing(file, title=f"{run.population} clients, seed {run.seed}") as [axes]:
        for name, each in PARTICIPATION.items():
            drawn = np.sort(each.probabilities(run.population, run.seed))[::-1]
            axes.step(np.arange(1, run.population + 1), drawn, where="mid", label=name)
        axes.set_yscale("log")
        axes.set(xlabel="clients, most likely first", ylabel="probability to be drawn")
        axes.set_ylim(1e-6, 1)
        axes.grid(alpha=0.3)
        axes.legend()
