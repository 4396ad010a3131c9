"""Participation: some clients take part more often, by probabilities drawn from Dirichlet(γ)."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from raydl import Run
from raydl.data import Skewed, Uniform
from raydl.data.participations.participation import ParticipationSpec
from tuning.output import drawing
from tuning.studies.cifar100.fedavg import ROUNDS, STEPS
from tuning.studies.cifar100.protocol import NAME, best_rates, draw_rounds, federated
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Setting, Study

PARTICIPATION: dict[str, ParticipationSpec] = {
    "uniform": Uniform(),
    **{f"γ = {gamma:g}": Skewed(gamma=gamma) for gamma in (5.0, 1.0, 0.5, 0.05)},
}
RATES = (0.1, 0.05)
BY = ["participation"]


def participation(setting: Setting) -> Study:
    """FedAvg, J = 4, clients drawn uniformly or with skew γ: accuracy, and who is drawn."""
    rounds = ROUNDS[setting.scale]
    length = f"{rounds} rounds"
    rates = RATES[:1] if setting.smoke else RATES
    cells = [
        Cell(
            replace(
                federated(setting, lr, STEPS, rounds),
                participation=taking,
                name=f"{name.replace('γ = ', 'gamma')}-lr{lr:g}-R{rounds}",
            ),
            {"participation": name, "lr": lr, "rounds": rounds},
        )
        for lr, (name, taking) in product(rates, PARTICIPATION.items())
    ]
    title = setting.title(NAME, length)

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw(results: Results, folder: Path) -> None:
        draw_rounds(results, BY, title, folder / "participation.png")
        draw_sampling(cells[0].run, folder / "sampling.png")

    return Study(cells, report, draw, BY, setting.seeds)


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
