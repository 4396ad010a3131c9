"""The clients' samples as minibatches: their order, their augmentation, one client or many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from raydl.core.algorithm import Plan, Work
from raydl.core.grad import Batch
from raydl.core.rng import generator
from raydl.data.dataset import Dataset, Split
from raydl.data.partitions import Partition

_NONE = np.empty(0, np.int64)


class Augmentation(Protocol):
    """Changes a batch of stored inputs [B, H, W, C], drawing from the generator alone."""

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """The augmented inputs, of the same shape and type."""
        ...


@dataclass(frozen=True)
class Preparation:
    """What turns stored inputs into a model's: float32, normalized, images as [..., C, H, W].

    Images are stored channels-last, so the permuted view is already in ``channels_last``.
    """

    mean: Tensor | None
    std: Tensor | None
    images: bool

    @classmethod
    def of(cls, dataset: Dataset, device: torch.device) -> "Preparation":
        """The preparation that a data set asks for, on a device."""
        moved = (each if each is None else each.to(device) for each in (dataset.mean, dataset.std))
        return cls(*moved, images=dataset.train.inputs.dim() == 4)

    def __call__(self, inputs: Tensor) -> Tensor:
        """Inputs [..., H, W, C] or [..., F] as the model takes them; token ids stay as they are."""
        if inputs.dtype == torch.int64:
            return inputs
        inputs = inputs.float()
        if self.mean is not None and self.std is not None:
            inputs = (inputs - self.mean).div_(self.std)
        return inputs.movedim(-1, -3) if self.images else inputs


class ClientData:
    """Minibatches of the training split, by client and round.

    What is drawn depends on (seed, round, client) alone.

    Args:
        dataset: the samples; they are moved to ``device`` once.
        partition: which of the training samples each client holds.
        seed: the run's seed.
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
        self._train = Split(*(part.to(device) for part in dataset.train))
        self.seed = seed
        self._augment = augmentation

    def samples(self, client: int) -> int:
        """The number of a client's samples, nₖ."""
        return int(self.partition.sizes[client])

    def batches(self, work: Work, client: int) -> Iterator[Batch]:
        """One client's minibatches of a round, none padded."""
        draws = self._augmentation_draws(work, client)
        for indices in self._minibatches(work, client):
            inputs, targets = self._gather(indices)
            yield Batch(self.prepare(self._augmented(inputs, draws)), targets)

    def stacked(self, work: Work) -> Iterator[tuple[Batch, Tensor]]:
        """The clients' minibatches side by side, padded to the largest.

        Yields:
            A batch of leaves [clients, B, ...] and, as bool [clients], who still takes a step.
        """
        plans = [list(self._minibatches(work, client)) for client in work.clients]
        draws = [self._augmentation_draws(work, client) for client in work.clients]
        for step in range(max(map(len, plans))):
            chosen = [plan[step] if step < len(plan) else _NONE for plan in plans]
            sizes = np.array([len(each) for each in chosen])
            padded = np.zeros((len(chosen), sizes.max()), np.int64)
            for row, each in zip(padded, chosen, strict=True):
                row[: len(each)] = each
            inputs, targets = self._gather(padded.ravel())
            inputs = inputs.unflatten(0, padded.shape)
            if self._augment is not None:
                inputs = self._augmented_each(inputs, sizes, draws)
            weights = torch.from_numpy(np.arange(padded.shape[1]) < sizes[:, None]).float()
            yield (
                Batch(
                    self.prepare(inputs),
                    targets.unflatten(0, padded.shape),
                    weights.to(inputs.device),
                ),
                torch.from_numpy(sizes > 0).to(inputs.device),
            )

    def _minibatches(self, work: Work, client: int) -> Iterator[np.ndarray]:
        """The training samples of a client's minibatches, int64 [B] each."""
        own = self.partition[client]
        draws = generator(self.seed, work.round, client, "order")
        for positions in minibatches(self.samples(client), work.plan, draws):
            yield own[positions.numpy()]

    def _gather(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        inputs, targets = self._train
        chosen = torch.from_numpy(indices).to(inputs.device)
        return inputs.index_select(0, chosen), targets.index_select(0, chosen)

    def _augmentation_draws(self, work: Work, client: int) -> torch.Generator | None:
        if self._augment is None:
            return None
        return generator(self.seed, work.round, client, "augmentation")

    def _augmented(self, inputs: Tensor, draws: torch.Generator | None) -> Tensor:
        return inputs if self._augment is None or draws is None else self._augment(inputs, draws)

    def _augmented_each(
        self, inputs: Tensor, sizes: np.ndarray, draws: Sequence[torch.Generator | None]
    ) -> Tensor:
        for client, (size, own) in enumerate(zip(sizes.tolist(), draws, strict=True)):
            if size:
                inputs[client, :size] = self._augmented(inputs[client, :size], own)
        return inputs


def minibatches(samples: int, plan: Plan, draws: torch.Generator) -> Iterator[Tensor]:
    """A client's minibatches as positions among its samples, int64 [B].

    With epochs, each pass is a new permutation and its last minibatch may be smaller. With steps,
    the permutations follow one another without a gap, and every minibatch is full.
    """
    batch = plan.batch(samples)
    if batch == 0:
        return
    if batch == samples:  # a batch of everything needs no order
        for _ in range(plan.local_steps(samples)):
            yield torch.arange(samples)
    elif plan.steps is None:
        for _ in range(plan.epochs):
            yield from torch.randperm(samples, generator=draws).split(batch)
    else:
        passes = -(-plan.steps * batch // samples)
        order = torch.cat([torch.randperm(samples, generator=draws) for _ in range(passes)])
        yield from order[: plan.steps * batch].split(batch)
