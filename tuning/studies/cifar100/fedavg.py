"""FedAvg on iid clients: K = 100, C = .1, J = 4 minibatches of 64, at a few constant rates."""

from dataclasses import replace
from pathlib import Path

from tuning.studies.cifar100.protocol import NAME, best_rates, draw_rounds, federated
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Scale, Setting, Study

STEPS = 4
RATES = (0.1, 0.05, 0.2)
BY = ["steps"]
ROUNDS: dict[Scale, int] = {"smoke": 2, "short": 100, "full": 2000}


def fedavg(setting: Setting) -> Study:
    """FedAvg, 100 iid clients of whom 10 take part, J = 4: the best rate, and its curve."""
    rounds = ROUNDS[setting.scale]
    length = f"{rounds} rounds"
    cells = [
        Cell(
            replace(
                federated(setting, lr, STEPS, rounds), name=f"FedAvg-J{STEPS}-lr{lr:g}-R{rounds}"
            ),
            {"steps": STEPS, "lr": lr, "rounds": rounds},
        )
        for lr in (RATES[:2] if setting.smoke else RATES)
    ]

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw(results: Results, folder: Path) -> None:
        title = setting.title(NAME, length)
        draw_rounds(results, [*BY, "lr"], title, folder / "fedavg.png")

    return Study(cells, report, draw, BY, setting.seeds)
