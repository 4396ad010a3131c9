"""The clients' samples as minibatches: their order, their augmentation, one client or many."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from raydl.core.algorithm import Plan, Work
from raydl.core.grad import Batch
from raydl.core.rng import generator
from raydl.data.dataset import Dataset, Split
from raydl.data.partitions import Partition


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
        self._seed = seed
        self._augment = augmentation

    def samples(self, client: int) -> int:
        """The number of a client's samples, nₖ."""
        return int(self.partition.sizes[client])

    def batches(self, work: Work, client: int) -> Iterator[Batch]:
        """One client's minibatches of a round, none padded."""
        indices = self._indices(client)
        draws = self._augmentation_draws(work, client)
        for positions in self._positions(work, client):
            inputs, targets = self._gather(indices[positions])
            yield Batch(self.prepare(self._augmented(inputs, draws)), targets)

    def stacked(self, work: Work) -> Iterator[tuple[Batch, Tensor]]:
        """The clients' minibatches side by side, padded to the largest.

        Yields:
            A batch of leaves [clients, B, ...] and, as bool [clients], who still takes a step.
        """
        plans = [
            [self._indices(client)[positions] for positions in self._positions(work, client)]
            for client in work.clients
        ]
        draws = [self._augmentation_draws(work, client) for client in work.clients]
        none = torch.empty(0, dtype=torch.int64)
        for step in range(max(map(len, plans))):
            chosen = [plan[step] if step < len(plan) else none for plan in plans]
            sizes = torch.tensor([len(each) for each in chosen])
            padded = torch.nn.utils.rnn.pad_sequence(chosen, batch_first=True)
            inputs, targets = self._gather(padded.flatten())
            inputs = inputs.unflatten(0, padded.shape)
            if self._augment is not None:
                inputs = self._augmented_each(inputs, sizes, draws)
            weights = (torch.arange(padded.shape[1]) < sizes[:, None]).float()
            yield (
                Batch(
                    self.prepare(inputs),
                    targets.unflatten(0, padded.shape),
                    weights.to(inputs.device),
                ),
                (sizes > 0).to(inputs.device),
            )

    def _indices(self, client: int) -> Tensor:
        return torch.from_numpy(self.partition[client])

    def _positions(self, work: Work, client: int) -> Iterator[Tensor]:
        draws = generator(self._seed, work.round, client, "order")
        return minibatches(self.samples(client), work.plan, draws)

    def _gather(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        inputs, targets = self._train
        indices = indices.to(inputs.device)
        return inputs.index_select(0, indices), targets.index_select(0, indices)

    def _augmentation_draws(self, work: Work, client: int) -> torch.Generator | None:
        if self._augment is None:
            return None
        return generator(self._seed, work.round, client, "augmentation")

    def _augmented(self, inputs: Tensor, draws: torch.Generator | None) -> Tensor:
        return inputs if self._augment is None or draws is None else self._augment(inputs, draws)

    def _augmented_each(
        self, inputs: Tensor, sizes: Tensor, draws: Sequence[torch.Generator | None]
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
