"""A small federation to test on: real digits, unequal clients, models that train in no time."""

import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import islice
from math import prod
from pathlib import Path
from time import sleep

import numpy as np
import torch
from torch import Tensor, nn

from raydl.core import tree
from raydl.core.algorithm import Algorithm, Client, Plan
from raydl.core.grad import parameters
from raydl.core.reduce import mean
from raydl.core.task import Task
from raydl.core.tree import Params, Tree
from raydl.data import Dataset, Digits, Partition, PartitionSpec, QuantitySkew, Selector, Uniform
from raydl.optim import sgd
from raydl.round import Round, rounds
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from raydl.runtimes.spec import RuntimeSpec
from raydl.runtimes.worker.client_states import ClientStates
from raydl.tasks.usual import usual_task

RUNTIMES: dict[str, RuntimeSpec] = {
    "sequential": Sequential(),
    "actors-1": Actors(workers=1),
    "actors-2": Actors(workers=2),
    "actors-3": Actors(workers=3),
    "batched": Batched(),
    "actors-batched": Actors(workers=2, batched=True),
}
UNEQUAL = QuantitySkew(alpha=1.0, min_size=3)


@cache
def digits() -> Dataset:
    return Digits(test=0.6).load()


@contextmanager
def seeded(seed: int = 0) -> Iterator[None]:
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        yield


def mlp(dataset: Dataset, dropout: float = 0.0) -> nn.Module:
    """Smooth, so that rounding stays rounding: no ReLU to flip."""
    with seeded():
        return nn.Sequential(
            nn.Flatten(),
            nn.Linear(prod(dataset.shape), 32),
            nn.Tanh(),
            nn.Dropout(dropout),
            nn.Linear(32, dataset.classes),
        )


def cnn(dataset: Dataset) -> nn.Module:
    with seeded():
        return nn.Sequential(
            nn.Conv2d(dataset.shape[0], 8, 3),
            nn.GroupNorm(2, 8),
            nn.Tanh(),
            nn.MaxPool2d(2),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(8 * 9, dataset.classes),
        )


def federation(
    algorithm: Algorithm,
    model: nn.Module | None = None,
    dataset: Dataset | None = None,
    partition: PartitionSpec = UNEQUAL,
    clients: int = 12,
    task: dict[str, object] | None = None,
    **options: object,
) -> Problem:
    """A problem: by default digits, held by 12 clients of unequal sizes, and an MLP."""
    dataset = dataset or digits()
    owners = None if dataset.owners is None else dataset.owners.numpy()
    parts: Partition = partition.assign(dataset.train.targets.numpy(), clients, 0, owners)
    model = model or mlp(dataset)
    return Problem(
        algorithm,
        Task(model, usual_task(*dataset.train), **(task or {})),
        dataset,
        parts,
        **options,
    )


def train(
    problem: Problem,
    runtime: Runtime,
    count: int = 5,
    start: int = 0,
    state: Tree = None,
    fraction: float = 0.6,
    cohorts: Iterable[np.ndarray] | Selector | None = None,
    **options: object,
) -> list[Round]:
    """Rounds ``start + 1`` to ``start + count``; cohorts are uniform unless they are given."""
    if state is None:
        state = problem.algorithm.init(parameters(problem.task.model))
    if cohorts is None:
        cohorts = Uniform(fraction).cohorts(len(problem.partition), seed=1)
    if not isinstance(cohorts, Selector):
        cohorts = iter(cohorts)
    loop = rounds(problem.algorithm, runtime, state, cohorts, start, **options)
    return list(islice(loop, count))


def fingerprints(history: list[Round]) -> list[str]:
    return [tree.fingerprint(each.state) for each in history]


def final(problem: Problem, history: list[Round]) -> Params:
    return problem.algorithm.params(history[-1].state)


def relative_distance(problem: Problem, given: Params, expected: Params) -> float:
    """How far apart two results are, in units of the way that training went."""
    start = parameters(problem.task.model)
    apart, way = (
        sum(float(leaf.double().square().sum()) for _, leaf in tree.leaves(tree.sub(a, b))) ** 0.5
        for a, b in ((given, expected), (expected, start))
    )
    return apart / way


def by_client(states: ClientStates) -> dict[int, Tree]:
    """What each client keeps, in memory of its own."""
    return {
        client: tree.map(torch.clone, states.row(at))
        for at, client in enumerate(states.clients.tolist())
    }


def keeping(plan: Plan, lr: float = 0.1) -> Algorithm:
    """Local SGD whose clients keep their momentum, and how often they took part."""
    rule = sgd(momentum=0.9)

    def start(broadcast: Params) -> Tree:
        return {"momentum": rule.init(broadcast), "rounds": torch.tensor(0)}

    def step(gradient, local, batch):
        grads, _, metrics = gradient(local["params"], batch)
        params, momentum = rule.update(local["params"], grads, local["kept"]["momentum"], lr)
        return {"params": params, "kept": local["kept"] | {"momentum": momentum}}, metrics

    def final(broadcast, local):
        kept = local["kept"]
        return tree.sub(local["params"], broadcast), kept | {"rounds": kept["rounds"] + 1}

    return Algorithm(
        init=lambda params: {"params": params},
        params=lambda state: state["params"],
        plan=lambda state: plan,
        broadcast=lambda state: state["params"],
        client=Client(
            init=lambda broadcast, kept: {"params": broadcast, "kept": kept},
            step=step,
            final=final,
            initial_state=start,
        ),
        reduce=mean(),
        server=lambda state, delta: ({"params": tree.add(state["params"], delta)}, {}),
    )


@dataclass(frozen=True)
class Killer:
    """An augmentation that changes nothing, but ends its own process in the midst of a block.

    Args:
        folder: where it counts the batches.
        batch: at which batch, counted over all processes and lives, SIGKILL strikes.
        hangs: whether the process only stays in there, instead of ending.
    """

    folder: Path | str
    batch: int
    hangs: bool = False

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        if self._draw_number() == self.batch:
            if self.hangs:
                sleep(3600)
            os.kill(os.getpid(), signal.SIGKILL)
        return inputs

    def _draw_number(self) -> int:
        """The next number; no two processes draw the same."""
        number = 1
        while True:
            try:
                Path(self.folder, str(number)).touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return number


class OddError(Exception):
    """An error of a user's own."""

    def __init__(self, batch: int, what: str) -> None:
        super().__init__(batch, what)


@dataclass(frozen=True)
class Faulty(Killer):
    """A killer that only raises an error."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        if self._draw_number() == self.batch:
            raise OddError(self.batch, "is odd")
        return inputs


@dataclass(frozen=True)
class Diary:
    """An augmentation that changes nothing, but writes down the sizes of the batches it saw.

    Args:
        path: the file, a line for each batch.
    """

    path: Path

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        with self.path.open("a") as file:
            print(len(inputs), file=file)
        return inputs
