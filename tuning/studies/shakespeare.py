"""The letter that follows: Shakespeare's plays, in one place, by client at random, and by role.

A client is a role, or one of a hundred equal parts; 10 of them take J minibatches of 64 windows
each in a round. One place takes as many in a row as they do together at J = 4. The network is the
one of S. Caldas et al., "LEAF: A Benchmark for Federated Settings", arXiv:1812.01097, 2018: an
embedding of 8 and two LSTM layers of 256. A tenth of each role's training windows is held out for
validation; rates are chosen there, and the test accuracy is that of the parameters at the end.

The scale ``short`` is for a computer without a GPU: 50 rounds instead of 200, layers of 64 units,
minibatches of 16, and windows that do not overlap, of which every letter's next one is learned: 80
targets for one pass.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import product
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
from tuning.studies.grid import Cell, CellSettings
from tuning.studies.study import Results, Scale, Setting, Study, choose_best

STEPS = (4, 8, 16)
RATES = (1.5, 3.0)
BY = ["clients", "steps"]
PLACE, AT_RANDOM, ROLES = "one place", "iid", "roles"
_SCORED = 8  # times in a run


class Protocol(NamedTuple):
    """How large the study is.

    Attributes:
        data: the plays; or a function that makes some up.
        model: what is trained.
        rounds: whatever J is.
        batch: windows of a minibatch (B).
        rates: tried.
        population: clients of the iid variant.
    """

    data: Shakespeare | Callable[[], Tensors]
    model: Model
    rounds: int
    batch: int = 64
    rates: Sequence[float] = RATES
    population: int = 100


def made_up() -> Tensors:
    """Letters in the order of the alphabet, said by 20 roles."""
    starts = torch.arange(320) * 7 % 80
    letters = (starts[:, None] + torch.arange(13)) % 80
    owners = torch.arange(320) % 20
    return Tensors(letters[:, :-1], letters[:, 1:], classes=80, owners=owners)


PROTOCOLS: dict[Scale, Protocol] = {
    "smoke": Protocol(made_up, Model("CharLSTM", {"hidden": 8}), 2, 4, RATES[:1], population=20),
    "short": Protocol(Shakespeare(predict="each"), Model("CharLSTM", {"hidden": 64}), 50, 16),
    "full": Protocol(Shakespeare(), Model("CharLSTM", {"last": True}), 200),
}


def shakespeare(setting: Setting) -> Study:
    """FedAvg on Shakespeare's letters: one place, 100 iid clients, and roles; J = 4, 8 and 16."""
    protocol = PROTOCOLS[setting.scale]
    variants = [(STEPS[0], PLACE), *product(STEPS, (AT_RANDOM, ROLES))]
    cells = []
    for lr, (steps, clients) in product(protocol.rates, variants):
        run = _run(setting, protocol, clients, steps, lr)
        settings: CellSettings = {
            "clients": clients,
            "steps": steps,
            "lr": lr,
            "rounds": protocol.rounds,
        }
        cells.append(Cell(run, settings))
    length = f"{protocol.rounds} rounds"
    title = setting.title("Shakespeare", length)

    def report(results: Results) -> str:
        return best_rates(results.runs, BY, length)

    def draw(results: Results, folder: Path) -> None:
        draw_curves(results, title, folder / "shakespeare.png")
        owners = load_dataset(cells[0].run.data).owners
        assert owners is not None
        draw_sizes(owners.bincount().numpy(), title, folder / "sizes.png")

    return Study(cells, report, draw, BY, setting.seeds)


def _run(setting: Setting, protocol: Protocol, clients: str, steps: int, lr: float) -> Run:
    every = max(1, protocol.rounds // _SCORED)
    run = Run(
        data=protocol.data,  # type: ignore[arg-type]  # a function may be data
        model=protocol.model,
        runtime=Sequential(),
        rounds=protocol.rounds,
        seed=1,
        evaluation=Evaluation(every=every),
        checkpoint=Checkpointing(every=every, keep=1),
        storage=setting.storage,
        name=f"{clients.replace(' ', '-')}-J{steps}-lr{lr:g}-R{protocol.rounds}",
    )
    if clients == PLACE:
        together = DataParallel(SGD(lr), Constant(), protocol.batch, steps=10 * steps)
        return replace(run, algorithm=together)
    partition: PartitionSpec = Natural() if clients == ROLES else IID()
    return replace(
        run,
        algorithm=FedAvg(lr=lr, batch_size=protocol.batch, steps=steps),
        partition=partition,
        participation=Uniform(0.012 if clients == ROLES else 0.1),  # 10 of 851, or of 100
        clients=None if clients == ROLES else protocol.population,
    )


def draw_curves(results: Results, title: str, file: Path) -> None:
    """Plots the validation accuracy over the rounds, of the runs at their best rates.

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
            sns.lineplot(scored, x="round", y="accuracy", hue="clients", style="J", ax=axes)
            axes.legend(title=None)
        axes.set(xlabel="rounds", ylabel="validation accuracy, %", ylim=(0, None))
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
