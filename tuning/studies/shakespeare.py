"""The letter that follows: Shakespeare's plays, in one place, by client at random, and by role.

A client is a role, or one of a hundred equal parts; 10 of them take J minibatches of 64 windows
each in a round, and one place as many in a row. The network is the one of S. Caldas et al., "LEAF:
A Benchmark for Federated Settings", arXiv:1812.01097, 2018: an embedding of 8 and two LSTM layers
of 256. A tenth of each role's training windows is held out for validation; rates are chosen there,
and the test accuracy is that of the parameters at the end.

The scale ``short`` is for a computer without a GPU: layers of 64 units, windows that do not overlap
and the next letter at each of their places (80 targets for one pass), and fewer rounds.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch

from raydl import Checkpointing, Evaluation, Model, Run
from raydl.algorithms import DataParallel, FedAvg
from raydl.data import IID, Natural, PartitionSpec, Shakespeare, Tensors, Uniform
from raydl.data.own import load_dataset
from raydl.optim import SGD, Constant
from raydl.runtimes.local.spec import Sequential
from tuning.output import drawing
from tuning.studies.cifar100.protocol import best_rates
from tuning.studies.grid import Cell
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

BATCH, STEPS = 64, (4, 8, 16)
RATES = (1.0, 2.0)
BY = ["clients", "steps"]
PLACE, AT_RANDOM, ROLES = "one place", "iid", "roles"
_SCORED = 8  # times in a run


class Protocol(NamedTuple):
    """How large the study is.

    Attributes:
        data: the plays; or a function that makes some up.
        model: what is trained.
        rounds: at J = 4.
        constant: whether there are as many at more local steps; fewer in proportion if not.
        rates: tried.
        population: clients of the iid variant.
    """

    data: Shakespeare | Callable[[], Tensors]
    model: Model
    rounds: int
    constant: bool = False
    rates: Sequence[float] = RATES
    population: int = 100


def made_up() -> Tensors:
    """Letters in the order of the alphabet, said by 20 roles."""
    starts = torch.arange(320) * 7 % 80
    letters = (starts[:, None] + torch.arange(13)) % 80
    owners = torch.arange(320) % 20
    return Tensors(letters[:, :-1], letters[:, 1:], classes=80, owners=owners)


PROTOCOLS: dict[Scale, Protocol] = {
    "smoke": Protocol(made_up, Model("CharLSTM", {"hidden": 8}), 4, rates=(1.0,), population=20),
    "short": Protocol(Shakespeare(predict="each"), Model("CharLSTM", {"hidden": 64}), 16),
    "full": Protocol(Shakespeare(), Model("CharLSTM", {"last": True}), 200, constant=True),
}


def shakespeare(setting: Setting) -> Study:
    """FedAvg on Shakespeare's letters: one place, 100 iid clients, and roles; J = 4, 8 and 16."""
    protocol = PROTOCOLS[setting.scale]
    cells = []
    for lr in protocol.rates:
        for steps in STEPS:
            for clients in (PLACE, AT_RANDOM, ROLES):
                rounds = protocol.rounds if protocol.constant else protocol.rounds * 4 // steps
                run = _run(setting, protocol, clients, steps, lr, rounds)
                settings = {"clients": clients, "steps": steps, "lr": lr, "rounds": rounds}
                cells.append(Cell(run, settings))
    # At one place as many minibatches are the same run, however they are cut into rounds.
    if not protocol.constant:
        cells = [
            each
            for each in cells
            if each.settings["clients"] != PLACE or each.settings["steps"] == STEPS[0]
        ]
    length = f"{protocol.rounds} rounds" + ("" if protocol.constant else f" at J = {STEPS[0]}")
    title = setting.title("Shakespeare", length).replace("images", "letters")

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw(results: Results, folder: Path) -> None:
        draw_curves(results, title, folder / "shakespeare.png")
        sizes = np.unique(load_dataset(cells[0].run.data).owners, return_counts=True)[1]
        draw_sizes(sizes, title, folder / "sizes.png")

    return Study(cells, report, draw, BY, setting.seeds)


def _run(
    setting: Setting, protocol: Protocol, clients: str, steps: int, lr: float, rounds: int
) -> Run:
    every = max(1, rounds // _SCORED)
    run = Run(
        data=protocol.data,  # type: ignore[arg-type]  # a function may be data
        model=protocol.model,
        runtime=Sequential(),
        rounds=rounds,
        seed=1,
        evaluation=Evaluation(every=every),
        checkpoint=Checkpointing(every=every, keep=1),
        storage=setting.storage,
        name=f"{clients.replace(' ', '-')}-J{steps}-lr{lr:g}-R{rounds}",
    )
    if clients == PLACE:
        together = DataParallel(SGD(lr), Constant(), BATCH, steps=10 * steps)
        return replace(run, algorithm=together)
    partition: PartitionSpec = Natural() if clients == ROLES else IID()
    return replace(
        run,
        algorithm=FedAvg(lr=lr, batch_size=BATCH, steps=steps),
        partition=partition,
        participation=Uniform(0.012 if clients == ROLES else 0.1),  # 10 of 851, or of 100
        clients=None if clients == ROLES else protocol.population,
    )


def draw_curves(results: Results, title: str, file: Path) -> None:
    """Plots the validation accuracy over the samples, of the runs at their best rates.

    Args:
        results: of the study.
        title: of the figure.
        file: PNG to write.
    """
    import seaborn as sns

    best = choose_best(results.runs, BY)
    scored = results.rounds.merge(best[["name", "clients", "steps"]], on="name")
    scored = scored.assign(accuracy=100 * scored["val_accuracy"], J=scored["steps"].astype(str))
    with drawing(file, width=8, title=title) as [axes]:
        if len(scored):
            sns.lineplot(scored, x="samples", y="accuracy", hue="clients", style="J", ax=axes)
            axes.legend(title=None)
        axes.set(xlabel="windows trained on", ylabel="validation accuracy, %", ylim=(0, None))
        axes.grid(alpha=0.3)


def draw_sizes(sizes: npt.NDArray[np.int64], title: str, file: Path) -> None:
    """Plots how many training windows the roles have.

    Args:
        sizes: of each role, int64 [roles].
        title: of the figure.
        file: PNG to write.
    """
    with drawing(file, panels=2, width=9, title=title) as [left, right]:
        left.step(np.arange(1, len(sizes) + 1), np.sort(sizes)[::-1], where="mid")
        left.set(xlabel="roles, largest first", ylabel="training windows", yscale="log")
        right.hist(sizes, np.geomspace(1, sizes.max() + 1, 30).tolist())
        right.set(xlabel="training windows", ylabel="roles", xscale="log")
        for axes in (left, right):
            axes.grid(alpha=0.3)
