"""Where clients that want different things are led to, by each method: biases, and their cures.

Client k has nₖ samples of the loss a (w − b)², each client with a and b of its own, so the optimum
of all samples and the point where FedAvg stays have closed forms. Draws biases.png.
"""

from collections.abc import Iterator
from itertools import islice

import torch
from torch import Tensor, nn

import raydl
from raydl.algorithms import (
    MIFA,
    SCAFFOLD,
    FedAvg,
    FedDyn,
    FedNova,
    HorvitzThompson,
    Mime,
    MimeLite,
)
from raydl.core.algorithm import AlgorithmSpec, Scope
from raydl.core.grad import parameters
from raydl.core.task import Task
from raydl.data import Natural, Tensors
from raydl.drawing import COLOURS, MUTED, blank, label, legend_above
from raydl.optim import SGD
from raydl.runtimes import Sequential
from raydl.runtimes.problem import Problem
from raydl.tasks import Regression

CURVATURE, WANTED = torch.tensor([0.5, 1.0, 2.0, 4.0]), torch.tensor([3.0, -1.0, 2.0, 0.5])
EQUAL, UNEQUAL = torch.ones(4, dtype=torch.int64), torch.tensor([16, 8, 4, 1])
OFTEN = torch.tensor([0.55, 0.25, 0.15, 0.05], dtype=torch.float64)  # who is drawn, of one a round


def optimum(sizes: Tensor) -> float:
    """The w with the least loss, of samples [4]."""
    weight = sizes * CURVATURE
    return float((weight * WANTED).sum() / weight.sum())


def fedavg_stays(lr: float, steps: Tensor, weights: Tensor) -> float:
    """Where FedAvg stays: client k goes 1 − (1 − 2 η a)^J of its way to what it wants.

    Args:
        lr: learning rate (η).
        steps: local steps of each client (J), [4].
        weights: what each client counts in the mean, [4].
    """
    way = weights * (1 - (1 - 2 * lr * CURVATURE) ** steps)
    return float((way * WANTED).sum() / way.sum())


def everybody() -> Iterator[Tensor]:
    """All four clients, round after round."""
    while True:
        yield torch.arange(4)


def one_at_a_time() -> Iterator[Tensor]:
    """One client a round, some more often than others."""
    draws = torch.Generator().manual_seed(0)
    while True:
        yield torch.multinomial(OFTEN, 1, generator=draws)


def course(spec: AlgorithmSpec, sizes: Tensor, cohorts: Iterator[Tensor], rounds: int) -> Tensor:
    """The server's w before the first round and after each one, [rounds + 1]."""
    owners = torch.arange(4).repeat_interleave(sizes)
    root = CURVATURE.sqrt()[owners]
    dataset = Tensors(
        root[:, None], root * WANTED[owners], owners=owners, validation=0, test=0
    ).load()
    clients = Natural().assign(dataset.train.targets.numpy(), 4, 0, owners.numpy())
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, 4)
    algorithm = spec.build(Scope(sizes=sizes, inclusion=lambda: OFTEN))
    problem = Problem(algorithm, Task(model, Regression()), dataset, clients)
    state = algorithm.init(parameters(model))
    with Sequential().open(problem) as runtime:
        done = islice(raydl.rounds(algorithm, runtime, state, cohorts), rounds)
        states = [state, *(each.state for each in done)]
    return torch.stack([algorithm.params(each)["weight"].squeeze() for each in states])


def main() -> None:
    """Runs the three settings, prints where each method ended, and draws how."""
    drift = {"lr": 0.05, "batch_size": None, "steps": 4}
    uneven = {"lr": 0.01, "batch_size": 1, "epochs": 1}
    seldom = {"lr": 0.01, "batch_size": None, "steps": 1}
    mime = {"optimizer": SGD(0.05, momentum=0), "batch_size": None, "steps": 4}
    settings = [
        (
            "Four local steps",
            (EQUAL, everybody, 60, fedavg_stays(0.05, torch.full((4,), 4), EQUAL)),
            {
                "FedAvg": FedAvg(**drift),
                "MimeLite": MimeLite(**mime),
                "SCAFFOLD": SCAFFOLD(**drift),
                "FedDyn": FedDyn(**drift, alpha=0.5),
                "Mime": Mime(**mime),
            },
        ),
        (
            "16, 8, 4 and 1 local steps",
            (UNEQUAL, everybody, 60, fedavg_stays(0.01, UNEQUAL, UNEQUAL)),
            {"FedAvg": FedAvg(**uneven), "FedNova": FedNova(**uneven)},
        ),
        (
            "55, 25, 15 and 5 % of the rounds",
            (EQUAL, one_at_a_time, 600, fedavg_stays(0.01, EQUAL, OFTEN)),
            {
                "FedAvg": FedAvg(**seldom),
                "HorvitzThompson": HorvitzThompson(**seldom),
                "MIFA": MIFA(**seldom),
            },
        ),
    ]
    figure = blank(
        "Clients that want different things: the optimum (grey), where FedAvg stays (dotted)", 13
    )
    every = figure.subplots(1, len(settings))
    for axes, (title, (sizes, cohorts, rounds, stays), specs) in zip(every, settings, strict=True):
        best = optimum(sizes)
        print(f"{title}: optimum {best:.3f}, FedAvg stays at {stays:.3f}")
        axes.axhline(best, color=MUTED, lw=1)
        axes.axhline(stays, color=MUTED, lw=1, ls=":")
        for colour, (name, spec) in zip(COLOURS, specs.items(), strict=False):
            at = course(spec, sizes, cohorts(), rounds)
            print(f"  {name:16} {float(at[-rounds // 3 :].mean()):.3f}")
            axes.plot(at, color=colour, lw=1.4, label=name)
        axes.set_ylim(min(best, stays) - 0.6, max(best, stays) + 1.2)
        label(axes, f"round ({title[0].lower() + title[1:]})", "w")
        legend_above(axes)
    figure.savefig("biases.png")


if __name__ == "__main__":
    main()
