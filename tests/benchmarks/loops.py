"""The loop without a framework that raydl's training is compared to: SGD in plain torch.

It has what is usual in a careful loop: the samples as bytes in memory, the minibatches and the
seeds of their augmentation drawn beforehand, images in ``channels_last``, torch's own SGD with
``foreach`` and its cosine schedule. It trains in one process; or in several, which share each
minibatch or have minibatches of their own, and average their gradients by torch's DDP, by one flat
all-reduce, or never communicate.
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Literal, NamedTuple, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR

from raydl.core.grad import parameters
from raydl.core.rng import fold_in, generator
from raydl.core.task import Precision
from raydl.core.tree import Params
from raydl.data import CropFlip, Dataset
from raydl.optim import SGD
from raydl.runtimes.problem import Problem
from tests.benchmarks.processes import Process

Averaging: TypeAlias = Literal["DDP", "all_reduce"]  # of gradients over the process group


class Given(NamedTuple):
    """What one bare loop trains.

    Attributes:
        model: trained in place, in ``channels_last``.
        dataset: the samples, images as uint8 [n, H, W, C].
        augmentation: of each minibatch, before it is normalized; None for none.
        minibatches: the samples of every step of the run, int64 [steps, B].
        seeds: of every step's augmentation.
        optimizer: its hyperparameters.
        precision: of the forward and backward pass.
    """

    model: nn.Module
    dataset: Dataset
    augmentation: CropFlip | None
    minibatches: Tensor
    seeds: list[int]
    optimizer: SGD
    precision: Precision


def give(problem: Problem, optimizer: SGD, batch: int, steps: int) -> list[Given]:
    """The minibatches that raydl will draw for each of the problem's workers, in so many steps."""
    model = copy.deepcopy(problem.task.model).to(memory_format=torch.channels_last)
    given = []
    for worker, samples in enumerate(map(torch.from_numpy, problem.partition)):
        draws = (generator(problem.seed, number, worker, "order") for number in count())
        orders = (samples[torch.randperm(len(samples), generator=each)] for each in draws)
        stream = torch.cat(list(islice(orders, -(-batch * steps // len(samples)))))
        seeds = [fold_in(problem.seed, step, worker, "augmentation") for step in range(steps)]
        given.append(
            Given(
                copy.deepcopy(model),
                problem.dataset,
                problem.augmentation,
                stream[: batch * steps].view(steps, batch),
                seeds,
                optimizer,
                problem.task.precision,
            )
        )
    return given


class Loop:
    """The loop in this process.

    Args:
        given: what it trains.
        steps: of a round.
        rank: of this process among those that share each minibatch.
        size: how many they are.
        averaging: how gradients are averaged over the process group, which must be there; None
            not to.
    """

    def __init__(
        self,
        given: Given,
        steps: int,
        rank: int = 0,
        size: int = 1,
        averaging: Averaging | None = None,
    ) -> None:
        self._given, self._rank, self._size = given, rank, size
        self._model, self._averaging = given.model.train(), averaging
        if averaging == "DDP":
            self._model = DistributedDataParallel(given.model, gradient_as_bucket_view=True)
        spec = given.optimizer
        self._optimizer = torch.optim.SGD(
            given.model.parameters(),
            spec.lr,
            spec.momentum,
            weight_decay=spec.weight_decay,
            foreach=True,
        )
        self._schedule = CosineAnnealingLR(self._optimizer, len(given.minibatches))
        self._draws = torch.Generator()
        rounds = zip(given.minibatches.split(steps), _cut(given.seeds, steps), strict=True)
        self._rounds = (zip(*each, strict=True) for each in rounds)

    def round(self) -> float:
        """Takes the next steps, in so many seconds."""
        began = perf_counter()
        for indices, seed in next(self._rounds):
            self._step(*self._minibatch(indices, seed))
        return perf_counter() - began

    def params(self) -> Params:
        """The parameters by now."""
        return parameters(self._given.model)

    def close(self) -> None:
        """Nothing to end."""

    def _minibatch(self, indices: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        """This process's part. The whole is augmented, as raydl does it: so the draws are equal."""
        data, augment = self._given.dataset, self._given.augmentation
        inputs = data.train.inputs.index_select(0, indices)
        if augment is not None:
            inputs = augment(inputs, self._draws.manual_seed(seed))
        own = inputs.chunk(self._size)[self._rank].float().sub_(data.mean).div_(data.std)
        targets = data.train.targets.index_select(0, indices.chunk(self._size)[self._rank])
        return own.permute(0, 3, 1, 2), targets

    def _step(self, inputs: Tensor, targets: Tensor) -> None:
        half = torch.autocast("cpu", torch.bfloat16)
        with half if self._given.precision == "bf16" else nullcontext():
            outputs = self._model(inputs)
        nn.functional.cross_entropy(outputs.float(), targets).backward()
        if self._averaging == "all_reduce":
            self._average()
        self._optimizer.step()
        self._schedule.step()
        self._optimizer.zero_grad()

    def _average(self) -> None:
        grads = [parameter.grad for parameter in self._model.parameters()]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= dist.get_world_size()
        for grad, mean in zip(grads, flat.split([grad.numel() for grad in grads]), strict=True):
            grad.copy_(mean.view(grad.shape))


def _cut(seeds: list[int], size: int) -> list[list[int]]:
    return [seeds[start : start + size] for start in range(0, len(seeds), size)]


class Group:
    """Loops in processes of one thread each.

    Args:
        given: what each of them trains; one for all is one whose minibatches they share.
        processes: how many.
        steps: of a round.
        averaging: how they average their gradients; None not to.
    """

    def __init__(
        self, given: list[Given], processes: int, steps: int, averaging: Averaging | None
    ) -> None:
        sharing = processes if len(given) == 1 else 1
        self._given = [each._replace(model=copy.deepcopy(each.model)) for each in given * sharing]
        self._scratch = TemporaryDirectory()
        rendezvous = (Path(self._scratch.name) / "rendezvous").as_uri() if averaging else None
        self._processes = [
            Process(_open, each, steps, (rank, processes), sharing, averaging, rendezvous)
            for rank, each in enumerate(self._given)
        ]
        for process in self._processes:
            process.wait()

    def round(self) -> float:
        """Takes the next steps, in the seconds of the process that needed longest."""
        for process in self._processes:
            process.begin("round")
        return max(process.wait() for process in self._processes)

    def params(self) -> Params:
        """The mean of the processes' parameters, which are in memory shared with them."""
        each = [parameters(given.model) for given in self._given]
        return {name: torch.stack([own[name] for own in each]).mean(0) for name in each[0]}

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.close()
        self._scratch.cleanup()


def _open(
    given: Given,
    steps: int,
    place: tuple[int, int],
    sharing: int,
    averaging: Averaging | None,
    rendezvous: str | None,
) -> Callable[[str], float]:
    rank, size = place
    if rendezvous is not None:
        dist.init_process_group("gloo", init_method=rendezvous, rank=rank, world_size=size)
    loop = Loop(given, steps, rank % sharing, sharing, averaging)
    return lambda request: loop.round()
