"""Federated learning on MNIST: three tables and three plots, ``python -m tuning.mnist``.

The protocol: the CNN of PyTorch's MNIST example, plain SGD at rate .01, N = 100 clients of whom
a fraction C = .1 takes part, E = 1 local epoch of minibatches of B = 100, 10 rounds, seed 10, and
the test accuracy after every round. Samples are dealt out iid, or as two label-sorted shards for
each client (McMahan et al., 2017). A study that was interrupted goes on where it was.
"""

import os
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd
from rich.console import Console

from raydl import Checkpointing, Evaluation, History, Model, Run
from raydl.algorithms import FedAvg, FedSGD
from raydl.data import IID, MNIST, Shards, Synthetic, Uniform
from raydl.progress import Live
from raydl.runtimes.cluster import connected
from raydl.runtimes.specs import Actors, Sequential
from tuning.study import command, drawing, markdown, take_up

FEDSGD, FEDAVG = FedSGD(lr=0.01), FedAvg(lr=0.01, batch_size=100, epochs=1)

# Accuracy in percent and how far off it may be, by (algorithm, N, C), after 10 rounds.
REFERENCE = {
    ("FedSGD", 10, 0.1): (42.87, 1.0),
    ("FedSGD", 50, 0.1): (43.43, 1.0),
    ("FedSGD", 100, 0.1): (42.74, 1.0),
    ("FedAvg", 10, 0.1): (93.2, 1.0),
    ("FedAvg", 50, 0.1): (87.71, 1.0),
    ("FedAvg", 100, 0.1): (80.89, 1.0),
    ("FedSGD", 100, 0.01): (41.01, 2.5),
    ("FedSGD", 100, 0.2): (42.68, 1.0),
    ("FedAvg", 100, 0.01): (75.47, 2.5),
    ("FedAvg", 100, 0.2): (81.64, 1.0),
}


@dataclass(frozen=True)
class Study:
    """MNIST studies at one scale; every run is kept under ``storage`` and done only once."""

    base: Run
    console: Console

    def run(
        self, name: str, algorithm: FedSGD | FedAvg, rounds: int = 10, **changes: object
    ) -> History:
        """The history of one run, taken up or read back if it is there already."""
        rounds = min(rounds, self.base.rounds)
        run = replace(self.base, name=name, algorithm=algorithm, rounds=rounds, **changes)
        with Live(self.console) as live:
            return take_up(run, live)

    def point(self, algorithm: FedSGD | FedAvg, clients: int, fraction: float) -> History:
        """The run of the first two tables with so many clients and such a fraction."""
        name = f"{type(algorithm).__name__}-N{clients}-C{fraction:g}"
        changes = {"clients": clients, "participation": Uniform(fraction)}
        return self.run(name, algorithm, **changes)

    def table(self, points: list[tuple[int, float]]) -> pd.DataFrame:
        """Accuracy, messages and ideal seconds of both algorithms at (N, C) points."""
        rows = []
        for clients, fraction in points:
            for algorithm in (FEDSGD, FEDAVG):
                history = self.point(algorithm, clients, fraction)
                rows.append(_row(algorithm, clients, fraction, history))
        return pd.DataFrame(rows)

    def equality(self) -> pd.DataFrame:
        """FedSGD by gradients beside FedSGD by weights, round by round."""
        scenarios = {
            "iid": (0.01, {"clients": 100, "participation": Uniform(0.5)}),
            "shards": (0.1, {"clients": 50, "participation": Uniform(0.2), "partition": Shards()}),
        }
        rows = []
        for scenario, (lr, changes) in scenarios.items():
            by = {
                send: self.run(f"FedSGD-{send}-{scenario}", FedSGD(lr, send), 5, **changes)
                for send in ("gradients", "weights")
            }
            accuracies = (100 * by[send].table["test_accuracy"] for send in by)
            for number, (one, other) in enumerate(zip(*accuracies, strict=True), 1):
                rows.append(
                    {
                        "scenario": scenario,
                        "lr": lr,
                        "round": number,
                        "gradients": one,
                        "weights": other,
                        "difference": abs(one - other),
                        "allowed": 0.02,
                    }
                )
        return pd.DataFrame(rows)

    def local_epochs(self) -> dict[str, History]:
        """FedSGD, and FedAvg with 1, 2 and 4 local epochs."""
        lines = {"FedSGD": self.point(FEDSGD, 100, 0.1), "FedAvg E=1": self.point(FEDAVG, 100, 0.1)}
        for epochs in (2, 4):
            name = f"FedAvg E={epochs}"
            lines[name] = self.run(f"FedAvg-E{epochs}", replace(FEDAVG, epochs=epochs))
        return lines

    def label_skew(self) -> dict[str, History]:
        """Both algorithms on iid clients and on clients of two shards."""
        return {
            f"{type(algorithm).__name__} {how}": self.run(
                f"{type(algorithm).__name__}-{how}", algorithm, 15, partition=partition
            )
            for algorithm in (FEDSGD, FEDAVG)
            for how, partition in (("iid", IID()), ("non-iid", Shards()))
        }

    def stabilized(self) -> dict[str, History]:
        """FedAvg on clients of two shards: fewer at a high rate, more at a low one."""
        calm = {"participation": Uniform(0.5), "partition": Shards()}
        return {
            "lr .01, C .1": self.run("FedAvg-non-iid", FEDAVG, 15, partition=Shards()),
            "lr .001, C .5": self.run("FedAvg-calm", replace(FEDAVG, lr=0.001), 15, **calm),
        }


def _row(algorithm: FedSGD | FedAvg, clients: int, fraction: float, history: History) -> dict:
    name = type(algorithm).__name__
    reference, allowed = REFERENCE[name, clients, fraction]
    accuracy = 100 * history.summary["test_accuracy"]
    return {
        "algorithm": name,
        "N": clients,
        "C": fraction,
        "B": algorithm.batch_size if isinstance(algorithm, FedAvg) else "∞",
        "E": 1,
        "lr": algorithm.lr,
        "seed": 10,
        "messages": history.summary["messages"],
        "ideal seconds": history.summary["simulated_seconds"],
        "accuracy": accuracy,
        "reference": reference,
        "difference": accuracy - reference,
        "allowed": allowed,
    }


def draw(lines: dict[str, History], title: str, file: Path) -> None:
    """Plots the test accuracy over the rounds, a line for each history."""
    import seaborn as sns

    rows = [
        {"round": row.round, "test accuracy, %": 100 * row.test_accuracy, "": name}
        for name, history in lines.items()
        for row in history.table.itertuples()
    ]
    table, last = pd.DataFrame(rows), max(row["round"] for row in rows)
    with drawing(file) as [axes]:
        sns.lineplot(
            table, x="round", y="test accuracy, %", hue="", style="", markers=True, ax=axes
        )
        axes.set(title=title, xticks=range(1, 1 + last), ylim=(0, 100))
        axes.grid(alpha=0.3)


def study(
    data_root: str = "data",
    output: str = "runs/mnist",
    scale: Literal["smoke", "full"] = "full",
) -> None:
    """Runs the MNIST studies, prints their tables, and writes tables and plots.

    Args:
        data_root: folder that holds MNIST as torchvision lays it out; downloaded if not there.
        output: folder of the runs, the tables (Markdown) and the plots (PNG).
        scale: full is the published protocol; smoke takes one round of each run on made-up images.
    """
    smoke = scale == "smoke"
    made_up = Synthetic(samples=1000, test=200, size=28, validation=0)
    base = Run(
        data=made_up if smoke else MNIST(root=data_root, validation=0),
        model=Model("MnistCNN"),
        runtime=Sequential() if smoke else Actors(),
        rounds=1 if smoke else 15,
        seed=10,
        microbatch=600,
        evaluation=Evaluation(test="each"),
        checkpoint=Checkpointing(every=1, keep=1),
        storage=f"{output}/runs",
    )
    folder, console = Path(output), Console()
    work = Study(base, console)
    folder.mkdir(parents=True, exist_ok=True)
    with nullcontext() if smoke else connected(None, cpus=os.cpu_count() or 1):
        tables = {
            "FedSGD by gradients and by weights": work.equality,
            "Number of clients": lambda: work.table([(10, 0.1), (50, 0.1), (100, 0.1)]),
            "Client fraction": lambda: work.table([(100, 0.01), (100, 0.1), (100, 0.2)]),
        }
        text = ""
        for title, made in tables.items():
            printed = markdown(made())
            console.print(f"\n[bold]{title}[/]\n{printed}", highlight=False, soft_wrap=True)
            text += f"## {title}\n\n{printed}\n\n"
            (folder / "tables.md").write_text(text)
        draw(work.local_epochs(), "Local epochs", folder / "local_epochs.png")
        draw(work.label_skew(), "iid and non-iid clients", folder / "label_skew.png")
        draw(work.stabilized(), "Non-iid, stabilized", folder / "stabilized.png")
    console.print(f"\ntables.md and three plots are in {folder}")


if __name__ == "__main__":
    command("tuning.mnist", study)
