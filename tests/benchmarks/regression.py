"""What linear regression on a large table costs in raydl's batched runtime, beside bare ``bmm``.

    python -m tests.benchmarks.regression [--repeats 5] [--json] [--quick]

1,000 clients of 1,000 rows of 100 columns each make one pass in minibatches of 100. The bare loop
has the gradient of the squared error written by hand, for a block of clients at once.
"""

from collections.abc import Sequence
from itertools import repeat
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from raydl.algorithms import FedAvg
from raydl.core.grad import parameters
from raydl.core.rng import generator
from raydl.core.task import Task
from raydl.core.tree import Params
from raydl.data import Dataset, Partition, Split
from raydl.data.batches import minibatches, passes
from raydl.models import Softmax
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.tasks import Regression
from tests.benchmarks import command, timing
from tests.benchmarks.contenders import Contender, Raydl
from tests.benchmarks.workloads import SEED

_LR, _BATCH, _BLOCK = 0.01, 100, 125


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures it, and prints the figures."""
    command.run("tests.benchmarks.regression", __doc__, {"table": _table}, arguments)


class BareBmm:
    """Federated averaging of linear models, block by block of clients, by batched products.

    Args:
        problem: what raydl trains.
    """

    def __init__(self, problem: Problem) -> None:
        self._inputs, self._targets = problem.dataset.train
        self._partition, self._plan = problem.partition, problem.algorithm.plan({})
        start = parameters(problem.task.model)
        self._names = [name for name, each in start.items() if each.dim() == 2] + [
            name for name, each in start.items() if each.dim() == 1
        ]
        self._weight, self._bias = (start[name].flatten() for name in self._names)
        self._number = 0

    def round(self) -> float:
        """Trains everybody, in so many seconds."""
        began = perf_counter()
        clients = range(len(self._partition))
        total = torch.zeros(len(self._weight) + 1)
        for first in range(0, len(clients), _BLOCK):
            total += self._train(clients[first : first + _BLOCK])
        mean = total / len(clients)
        self._weight, self._bias = mean[:-1], mean[-1:]
        self._number += 1
        return perf_counter() - began

    def _train(self, block: Sequence[int]) -> Tensor:
        weight = self._weight.expand(len(block), -1).unsqueeze(2).clone()
        bias = self._bias.expand(len(block), 1, 1).clone()
        for indices in zip(*map(self._minibatches, block), strict=True):
            chosen = torch.from_numpy(np.stack(indices).ravel())
            inputs = self._inputs.index_select(0, chosen).unflatten(0, (len(block), -1))
            targets = self._targets.index_select(0, chosen).unflatten(0, (len(block), -1))
            errors = torch.baddbmm(bias, inputs, weight) - targets.unsqueeze(2)
            errors *= 2 * _LR / errors.shape[1]
            weight -= torch.bmm(inputs.transpose(1, 2), errors)
            bias -= errors.sum(1, keepdim=True)
        return torch.cat([weight.sum(0).flatten(), bias.sum(0).flatten()])

    def _minibatches(self, client: int) -> list[np.ndarray]:
        own = self._partition[client]
        orders = passes(len(own), generator(SEED, self._number, client, "order"))
        return [own[each.numpy()] for each in minibatches(len(own), self._plan, orders)]

    def params(self) -> Params:
        """The parameters by now."""
        weight, bias = self._names
        return {weight: self._weight.unsqueeze(0), bias: self._bias}

    def close(self) -> None:
        """Ends nothing."""


def _table(repeats: int, quick: bool) -> dict[str, Any]:
    clients, rows, columns = (20, 200, 10) if quick else (1000, 1000, 100)
    problem = _problem(clients, rows, columns)
    cohorts = repeat(np.arange(clients))
    everyone = []
    for threads in (1, 2):
        everyone.append(Contender("bare bmm", 1, threads, "float32", True, BareBmm(problem)))
        batched = LocalRuntime(problem, threads=threads, batched=True)
        side = Raydl(problem, batched, cohorts)
        everyone.append(Contender("batched", 1, threads, "float32", True, side))
    measured = timing.compare(everyone, parameters(problem.task.model), repeats)
    best = min(row["median"] for row in measured if row["bare"])
    for row in measured:
        row["ratio"] = row["median"] / best
    title = f"{clients * rows:,} rows × {columns} columns, {clients:,} clients, E=1, B={_BATCH}"
    return {"title": f"linear regression, {title}", "contenders": measured}


def _problem(clients: int, rows: int, columns: int) -> Problem:
    draws = torch.Generator().manual_seed(SEED)
    inputs = torch.randn(clients * rows, columns, generator=draws)
    targets = inputs @ torch.randn(columns, generator=draws)
    targets += torch.randn(len(targets), generator=draws)
    train = Split(inputs, targets)
    dataset = Dataset("table", train, train.none(), train.none(), classes=None)
    torch.manual_seed(SEED)
    return Problem(
        FedAvg(lr=_LR, batch_size=_BATCH, epochs=1).build(),
        Task(Softmax((columns,), 1), Regression()),
        dataset,
        Partition.cut(np.random.default_rng(SEED).permutation(clients * rows), [rows] * clients),
        SEED,
    )


if __name__ == "__main__":
    main()
