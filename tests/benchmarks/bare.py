"""The loop without a framework that raydl is compared to: federated averaging in plain torch.

It has all that can be had for nothing: the samples normalized beforehand, the minibatches drawn
beforehand, convolutions in ``channels_last``, SGD in place. Either one process trains the whole
cohort, or persistent processes train a part each, with samples and parameters in shared memory.
"""

import copy
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from raydl.core.rng import fold_in, generator
from raydl.core.task import Precision
from raydl.core.tree import Params
from raydl.data.batches import Preparation, minibatches, passes
from tests.benchmarks.processes import Process
from tests.benchmarks.workloads import SEED, Prepared


class Local(NamedTuple):
    """One client's training in one round.

    Attributes:
        share: of the cohort's samples.
        dropout_seed: the one that raydl would use.
        minibatches: the samples of each, int64 [B].
    """

    share: float
    dropout_seed: int
    minibatches: list[np.ndarray]


class Given(NamedTuple):
    """What is there before the first round.

    Attributes:
        inputs: float32, normalized, images as [n, H, W, C]; or tokens.
        targets: int64 [n].
        rounds: the clients to train, round by round.
    """

    inputs: Tensor
    targets: Tensor
    rounds: list[list[Local]]


class Loop(NamedTuple):
    """What one process trains.

    Attributes:
        model: whose parameters are trained in place.
        given: the samples, and this process's clients.
        lr: the learning rate.
        precision: of the forward and backward pass.
    """

    model: nn.Module
    given: Given
    lr: float
    precision: Precision


def give(prepared: Prepared) -> Given:
    """Normalizes the samples, and draws the minibatches that raydl will draw."""
    train = prepared.dataset.train.take(slice(None))  # in memory, also what raydl gathers
    inputs = Preparation.of(prepared.dataset, torch.device("cpu"))(train.inputs)
    if inputs.dim() == 4:
        inputs = inputs.movedim(1, -1)
    rounds = [list(_cohort(prepared, number)) for number in range(len(prepared.work))]
    return Given(inputs.clone(), train.targets.clone(), rounds)


def _cohort(prepared: Prepared, number: int) -> Iterator[Local]:
    work, partition = prepared.work[number], prepared.partition
    total = sum(int(partition.sizes[client]) for client in work.clients)
    for client in work.clients:
        samples = int(partition.sizes[client])
        orders = passes(samples, generator(SEED, number, client, "order"))
        yield Local(
            samples / total,
            fold_in(SEED, number, client, "dropout"),
            [partition[client][positions] for positions in minibatches(samples, work.plan, orders)],
        )


def train(loop: Loop, number: int, start: list[Tensor], average: list[Tensor]) -> None:
    """Trains this process's part of a cohort, and adds its share to the average."""
    parameters = list(loop.model.parameters())
    bf16 = torch.autocast("cpu", torch.bfloat16) if loop.precision == "bf16" else nullcontext()
    for local in loop.given.rounds[number]:
        torch.default_generator.manual_seed(local.dropout_seed)
        with torch.no_grad():
            torch._foreach_copy_(parameters, start)
        for indices in map(torch.from_numpy, local.minibatches):
            inputs = loop.given.inputs.index_select(0, indices)
            if inputs.dim() == 4:
                inputs = inputs.permute(0, 3, 1, 2)
            with bf16:
                outputs = loop.model(inputs)
            nn.functional.cross_entropy(
                outputs.float(), loop.given.targets.index_select(0, indices)
            ).backward()
            with torch.no_grad():
                for parameter in parameters:
                    parameter.sub_(parameter.grad, alpha=loop.lr)
                    parameter.grad = None
        with torch.no_grad():
            torch._foreach_add_(average, parameters, alpha=local.share)


class Bare:
    """The loop in one process, or divided among processes of one thread each.

    Args:
        prepared: what is trained.
        given: what `give` made of it.
        precision: of the forward and backward pass.
        processes: how many others train while this one waits; 0 to train in this one.
    """

    def __init__(
        self, prepared: Prepared, given: Given, precision: Precision, processes: int = 0
    ) -> None:
        model = copy.deepcopy(prepared.model).to(memory_format=torch.channels_last)
        parts = processes or 1
        self._names = [name for name, _ in model.named_parameters()]
        self._start = [each.detach().clone() for each in model.parameters()]
        self._averages = [[torch.zeros_like(each) for each in self._start] for _ in range(parts)]
        self._number = 0
        self._loops = [
            Loop(
                model,
                given._replace(rounds=[cohort[part::parts] for cohort in given.rounds]),
                prepared.workload.algorithm.lr,
                precision,
            )
            for part in range(parts)
        ]
        self._processes = [
            Process(_open, self._loops[part], self._start, self._averages[part])
            for part in range(processes)
        ]
        for process in self._processes:
            process.wait()

    def round(self) -> float:
        """Trains one cohort and averages, in so many seconds."""
        began = perf_counter()
        for average in self._averages:
            torch._foreach_zero_(average)
        for process in self._processes:
            process.begin(self._number)
        if not self._processes:
            train(self._loops[0], self._number, self._start, self._averages[0])
        for process in self._processes:
            process.wait()
        first, *others = self._averages
        torch._foreach_copy_(self._start, first)
        for other in others:
            torch._foreach_add_(self._start, other)
        self._number += 1
        return perf_counter() - began

    def params(self) -> Params:
        """The averaged parameters."""
        return dict(zip(self._names, self._start, strict=True))

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.close()


def _open(loop: Loop, start: list[Tensor], average: list[Tensor]) -> Callable[[int], None]:
    """Trains on request; ``start`` and ``average`` lie in memory shared with the one who asks."""
    own = loop._replace(model=copy.deepcopy(loop.model))  # what was sent is shared, too
    return lambda number: train(own, number, start, average)
