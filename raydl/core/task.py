"""What is learned: a model, what its outputs are compared with, and what they are worth.

A `TaskSpec` is the loss and the metrics. All of it is said sample by sample, or in sums over
samples, so that any cut of the samples into minibatches, pieces, workers and stretches comes to the
same means.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple, TypeAlias

from torch import Tensor, nn

from raydl.core.spec import Spec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Precision: TypeAlias = Literal["float32", "bf16"]
Inputs: TypeAlias = Tensor | dict[str, Tensor]  # [B, ...]; or several by the model's argument


class TaskSpec(Spec, ABC, field="task"):
    """A loss, and the metrics beside it.

    Only `losses` must be said; an own task that gives ``scores`` as well has their means in every
    table. What is called in training must be safe under ``torch.vmap``: no Python branches on the
    values of tensors.

    Attributes:
        best: name of the metric by which one model is better than another: the loss, a score, or
            one of those that `summarize` gives.
        higher_is_better: whether the larger value of it is the better one.
        shares: names of metrics in [0, 1] that are shown in per cent.
    """

    best: ClassVar[str] = "loss"
    higher_is_better: ClassVar[bool] = False
    shares: ClassVar[frozenset[str]] = frozenset()

    def outputs(self, classes: int | None, targets: Tensor) -> int:
        """How many numbers a model gives for each thing that is predicted.

        Args:
            classes: classes of the data; None if its targets are no classes.
            targets: some targets of the data, [n, ...].
        """
        return classes if classes is not None else targets[:1].numel() or 1

    def check(self, name: str, inputs: Inputs, targets: Tensor, classes: int | None) -> None:
        """Raises a SpecError unless targets can be learned.

        Args:
            name: what errors call them.
            inputs: the samples, [n, ...].
            targets: all those of a part of the data, [n, ...].
            classes: classes of the data; None if its targets are no classes.
        """

    def output_shape(self, targets: Tensor, outputs: int) -> tuple[int, ...] | None:
        """The shape that outputs must have for such targets [B, ...]; None if any will do."""
        return None

    def target(self, inputs: Inputs, targets: Tensor) -> Tensor:
        """What outputs are compared with: by default the targets, [B, ...]."""
        return targets

    @abstractmethod
    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each sample's loss, float32 [B], of float32 outputs [B, ...] and targets [B, ...]."""

    def weights(self, targets: Tensor) -> Tensor | None:
        """What each sample's loss counts in a mean, float [B]; None if all count alike."""
        return None

    def scores(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Metrics of each sample, by name, [B] each; a table has their means."""
        return {}

    def counts(self, targets: Tensor) -> Tensor | None:
        """What each sample's scores count in a mean, float [B]; None if all count alike."""
        return self.weights(targets)

    def statistics(self, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        """Sums over samples that further metrics are made of: they are added up, in float64."""
        return {}

    def summarize(
        self, means: Mapping[str, float], statistics: Mapping[str, Tensor]
    ) -> dict[str, float]:
        """Further metrics of a part of the data, by name.

        Args:
            means: the mean loss and the mean scores.
            statistics: what `statistics` gave, added up.
        """
        return {}

    def figure(self, statistics: Mapping[str, Tensor], title: str) -> "Figure | None":
        """What statistics look like; None if there is nothing to draw."""
        return None

    def predictions(self, outputs: Tensor) -> dict[str, Tensor]:
        """Outputs [B, ...] as columns of a table, by name: [B, ...] each."""
        return {"outputs": outputs}


class Task(NamedTuple):
    """What is learned: a model and its task.

    Attributes:
        model: gives the structure; its own parameters are only the first values.
        spec: the loss and the metrics.
        precision: ``float32``, or ``bf16`` for autocast with float32 parameters.
        microbatch: samples that go through the model at once, at most; the gradients of the
            pieces of a larger minibatch are averaged by what they count.
        rewritten: parameters that a training pass writes to by itself.
        idle: parameters that a training pass does not come by, which ``torch.func`` cannot tell
            from those whose gradient is zero.
        host_draws: whether a training pass draws from Python's or numpy's generators.
        scores: names of the metrics of training, beside the loss.
        metrics: names of the metrics of a part of the data that is scored, beside the loss.
    """

    model: nn.Module
    spec: TaskSpec
    precision: Precision = "float32"
    microbatch: int | None = None
    rewritten: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    host_draws: bool = False
    scores: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
