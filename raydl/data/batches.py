"""The clients' samples as minibatches: their order, their augmentation, one client or many."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.algorithm import Plan, Work
from raydl.core.grad import Batch
from raydl.core.rng import generator
from raydl.core.task import Inputs
from raydl.data.dataset import Dataset, Split, holds_images
from raydl.data.partitions.partition import Partition

_NONE = np.empty(0, np.int64)


# From a batch of inputs as they are stored to augmented ones of the same shapes and types, drawing
# from the generator alone.
Augmentation: TypeAlias = Callable[[Any, torch.Generator], Any]


@dataclass(frozen=True)
class ArrayPreparation:
    """What `Preparation` does to one array of inputs."""

    mean: Tensor | None
    std: Tensor | None
    images: bool

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs as the model takes them; token ids stay as they are."""
        if inputs.dtype == torch.int64:
            return inputs
        inputs = inputs.float()
        if self.mean is not None and self.std is not None:
            inputs = (inputs - self.mean).div_(self.std)
        return inputs.movedim(-1, -3) if self.images else inputs


@dataclass(frozen=True)
class Preparation:
    """What turns stored inputs into a model's: float32, normalized, images as [..., C, H, W].

    Images are stored channels-last, so the permuted view is already in ``channels_last``.

    Args:
        arrays: what is done to the inputs; of a dictionary of inputs, to each.
    """

    arrays: ArrayPreparation | dict[str, ArrayPreparation]

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> "Preparation":
        """The preparation that a data set asks for, on a device."""

        def of_array(stored: Tensor, name: str | None = None) -> ArrayPreparation:
            scale = (_of_input(each, name) for each in (dataset.mean, dataset.std))
            mean, std = (each if each is None else each.to(device) for each in scale)
            return ArrayPreparation(mean, std, holds_images(stored))

        inputs = dataset.train.inputs
        if isinstance(inputs, Tensor):
            return cls(of_array(inputs))
        return cls({name: of_array(each, name) for name, each in inputs.items()})

    def __call__(self, inputs: Inputs) -> Any:
        """Inputs [B, ...], or [clients, B, ...], as the model takes them."""
        return tree.map(lambda stored, prepare: prepare(stored), inputs, self.arrays)


def _of_input(scale: Inputs | None, name: str | None) -> Tensor | None:
    """A mean or a deviation of one of the inputs; None if it is not normalized."""
    return scale.get(str(name)) if isinstance(scale, dict) else scale


def two_samples(dataset: Dataset) -> Batch:
    """Two training samples as the model takes them; of tokens the smallest and the largest id.

    In a dictionary of inputs each array of tokens has its own two, whatever samples they are of.
    """
    held_out = (each for each in (dataset.validation, dataset.test) if len(each.targets))
    splits = [dataset.train, *held_out]
    first, *others = (each.inputs for each in splits)
    inputs = tree.map(lambda *arrays: _stack_rows(arrays, _two_rows(arrays)), first, *others)
    rows = _two_rows([each.inputs for each in splits if isinstance(each.inputs, Tensor)])
    targets = _stack_rows([each.targets for each in splits], rows)
    return Batch(Preparation.of(dataset, torch.device("cpu"))(inputs), targets)


def _two_rows(arrays: Sequence[Tensor]) -> list[tuple[int, int]]:
    """Two samples of arrays, each as (array, row): of tokens the smallest and the largest id.

    Of others they are the first and the last sample of the first array.
    """
    if not arrays or arrays[0].dtype != torch.int64:
        return [(0, 0), (0, -1)]
    low = min(range(len(arrays)), key=lambda at: int(arrays[at].min()))
    high = max(range(len(arrays)), key=lambda at: int(arrays[at].max()))
    return [
        (which, int(torch.unravel_index(at, arrays[which].shape)[0]))
        for which, at in ((low, arrays[low].argmin()), (high, arrays[high].argmax()))
    ]


def _stack_rows(arrays: Sequence[Tensor], rows: list[tuple[int, int]]) -> Tensor:
    return torch.stack([arrays[which][row] for which, row in rows])


class ClientData:
    """Minibatches of the training split, by client and round.

    What is drawn depends on (seed, round, client) alone.

    Args:
        dataset: the samples; they are moved to ``device`` once.
        partition: which of the training samples each client holds.
        seed: seed of the run.
        augmentation: applied to each minibatch before it is normalized.
        device: where the minibatches are made.
    """

    def __init__(
        self,
        dataset: Dataset,
        partition: Partition,
        seed: int,
        augmentation: Augmentation | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        device = torch.device(device)
        self.partition = partition
        self.prepare = Preparation.of(dataset, device)
        self._train = dataset.train.map(lambda each: each.to(device))
        self.seed = seed
        self._augment = augmentation

    def samples(self, client: int) -> int:
        """The number of a client's samples, nₖ."""
        return int(self.partition.sizes[client])

    def batches(self, work: Work, client: int) -> Iterator[Batch]:
        """One client's minibatches of a phase, none padded."""
        draws = None
        for step, indices in enumerate(self._minibatches(work, client)):
            draws = self._augmentation_draws(work, client, step) or draws
            inputs, targets = self.gather(indices)
            yield Batch(self.prepare(self._augment_all(inputs, draws)), targets)

    def stacked(self, work: Work) -> Iterator[tuple[Batch, Tensor]]:
        """The clients' minibatches of a phase side by side, padded to the largest.

        Yields:
            A batch of leaves [clients, B, ...] and, as bool [clients], who still takes a step.
        """
        plans = [list(self._minibatches(work, client)) for client in work.clients]
        draws: list[torch.Generator | None] = [None] * len(plans)
        for step in range(max(map(len, plans))):
            draws = [
                self._augmentation_draws(work, client, step) or before
                for client, before in zip(work.clients, draws, strict=True)
            ]
            chosen = [plan[step] if step < len(plan) else _NONE for plan in plans]
            sizes = np.array([len(each) for each in chosen])
            padded = np.zeros((len(chosen), sizes.max()), np.int64)
            for row, each in zip(padded, chosen, strict=True):
                row[: len(each)] = each
            inputs, targets = self.gather(padded.ravel())
            inputs = tree.map(lambda each, shape=padded.shape: each.unflatten(0, shape), inputs)
            if self._augment is not None:
                self._augment_each(inputs, sizes, draws)
            weights = torch.from_numpy(np.arange(padded.shape[1]) < sizes[:, None]).float()
            yield (
                Batch(
                    self.prepare(inputs),
                    targets.unflatten(0, padded.shape),
                    weights.to(targets.device),
                ),
                torch.from_numpy(sizes > 0).to(targets.device),
            )

    def _minibatches(self, work: Work, client: int) -> Iterator[npt.NDArray[np.int64]]:
        """The training samples of a client's minibatches, int64 [B] each."""
        own, plan = self.partition[client], work.plan
        if plan.start_step is None:
            draws_order = generator(self.seed, work.step, client, *work.phase, "order")
            orders = passes(len(own), draws_order)
        else:
            begun = plan.start_step * plan.batch(len(own)) // max(1, len(own))
            draws = (generator(self.seed, number, client, "order") for number in count(begun))
            orders = (torch.randperm(len(own), generator=each) for each in draws)
        for positions in minibatches(len(own), plan, orders):
            yield own[positions.numpy()]

    def first_minibatch(self, work: Work, client: int) -> npt.NDArray[np.int64]:
        """The training samples of a client's first minibatch of a round, int64 [B]."""
        return next(self._minibatches(work, client))

    def gather(self, indices: npt.NDArray[np.int64]) -> Split:
        """Training samples as they are stored, int64 [n] of them."""
        chosen = torch.from_numpy(indices).to(self._train.targets.device)
        return self._train.map(lambda each: each.index_select(0, chosen))

    def _augmentation_draws(self, work: Work, client: int, step: int) -> torch.Generator | None:
        path = work.seed_path(client, step)
        if self._augment is None or path is None:
            return None
        return generator(self.seed, *path, "augmentation")

    def _augment_all(self, inputs: Inputs, draws: torch.Generator | None) -> Any:
        return inputs if self._augment is None or draws is None else self._augment(inputs, draws)

    def _augment_each(
        self, inputs: Inputs, sizes: npt.NDArray[np.int64], draws: Sequence[torch.Generator | None]
    ) -> None:
        """Augments each client's minibatch in its place, without what pads it."""
        for client, (size, own) in enumerate(zip(sizes.tolist(), draws, strict=True)):
            if size:
                stored = tree.map(lambda each, at=client, stop=size: each[at, :stop], inputs)
                tree.map(Tensor.copy_, stored, self._augment_all(stored, own))


def passes(samples: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Permutations of a client's samples, int64 [samples], one for each pass, without an end."""
    while True:
        yield torch.randperm(samples, generator=draws)


def minibatches(samples: int, plan: Plan, orders: Iterator[Tensor]) -> Iterator[Tensor]:
    """A client's minibatches as positions among its samples, int64 [B].

    With epochs, each pass is a new order, and its last minibatch may be smaller or left out. With
    steps, the orders follow one another without a gap, and every minibatch is full.

    Args:
        samples: how many the client has.
        plan: how long it trains.
        orders: permutations of the samples, one for each pass, from the one on that the plan's
            first step falls into.
    """
    batch = plan.batch(samples)
    if batch == 0:
        return
    if batch == samples:  # a batch of everything needs no order
        for _ in range(plan.local_steps(samples)):
            yield torch.arange(samples)
    elif plan.steps is None:
        for _ in range(plan.epochs):
            yield from next(orders)[: plan.pass_samples(samples)].split(batch)
    else:
        start = (plan.start_step or 0) * batch % samples
        stop = start + plan.steps * batch
        order = torch.cat(list(islice(orders, -(-stop // samples))))
        yield from order[start:stop].split(batch)
