"""How processes that share each minibatch exchange their gradients: hooks of torch's DDP."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from raydl.core.spec import Spec
from raydl.core.tree import Tree

Bucket: TypeAlias = torch.distributed.GradBucket  # type: ignore[attr-defined, name-defined]
Mean: TypeAlias = torch.futures.Future[Tensor]


class GradientSync(ABC):
    """What one process does with its gradients, bucket by bucket.

    Attributes:
        calls: all-reduces since this was last set to 0.
        nbytes: of what this process put into them.
        contiguous: whether gradients must lie in memory as their shapes say, which those of
            convolutions do not where they are fastest.
    """

    calls: int
    nbytes: int
    contiguous: bool

    @abstractmethod
    def mean(self, bucket: Bucket) -> Mean:
        """Starts to average a bucket's gradients over the processes."""

    @abstractmethod
    def state(self) -> Tree:
        """What the process keeps from step to step, such as error feedback; ``{}`` if nothing."""

    @abstractmethod
    def restore(self, states: Sequence[Tree]) -> None:
        """Takes up what the processes of a former group kept, by rank; they may have been fewer."""


class GradientSyncSpec(Spec, ABC, field="algorithm.hook"):
    """A way to exchange gradients, as a user names it."""

    @abstractmethod
    def open(self) -> GradientSync:
        """The exchange of one process."""
