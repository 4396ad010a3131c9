"""A model's loss and its gradient: the one place where a model meets an algorithm.

A `Gradient` takes parameters and a minibatch and gives the gradient of the mean loss. There are two
of them, with the same numbers up to rounding: `eager` has the module itself make a pass forward and
one backward, as a plain loop does; `functional` is made of ``torch.func`` and works under ``vmap``.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from raydl.core import tree
from raydl.core.module import Bound, encode_buffer
from raydl.core.task import Inputs, Precision, Task
from raydl.core.tree import Params

Metrics: TypeAlias = dict[str, Tensor]  # names to scalars


class Batch(NamedTuple):
    """A minibatch as the model takes it.

    Attributes:
        inputs: [B, ...]; or a dictionary of such, which are the model's keyword arguments.
        targets: [B, ...].
        weights: float [B], 1 for a sample and 0 for padding; None if nothing is padded.
    """

    inputs: Inputs
    targets: Tensor
    weights: Tensor | None = None

    @property
    def size(self) -> Tensor | int:
        """Samples, padding left out: a tensor [] where there may be some."""
        return len(self.targets) if self.weights is None else self.weights.sum()

    def part(self, samples: slice) -> "Batch":
        """Some of the samples."""
        inputs = tree.map(lambda each: each[samples], self.inputs)
        weights = None if self.weights is None else self.weights[samples]
        return Batch(inputs, self.targets[samples], weights)


class Gradients(NamedTuple):
    """What a `Gradient` gives.

    Attributes:
        grads: the mean loss's gradient, of the parameters that have one. The others, which the
            pass did not come by, are to be left alone, by decay and momentum too.
        buffers: what the pass itself changed of the parameters that were given: the model's
            buffers (running statistics, counters), which are not trained; and parameters that it
            writes to by itself (an embedding with ``max_norm``). A step is made from these values:
            ``params | buffers`` comes before the optimizer.
        metrics: ``loss`` and the task's scores, means over the minibatch.
    """

    grads: Params
    buffers: Params
    metrics: Metrics


Gradient: TypeAlias = Callable[[Params, Batch], Gradients]


class Share(NamedTuple):
    """What a part of a minibatch counts in the means over all of it: its loss, and its scores."""

    loss: Tensor | float
    scores: Tensor | float

    def of(self, metrics: Metrics) -> Metrics:
        """Metrics times what they count."""
        return {
            name: value * (self.loss if name == "loss" else self.scores)
            for name, value in metrics.items()
        }


WHOLE = Share(1.0, 1.0)


def parameters(model: nn.Module) -> Params:
    """Copies of what training changes: parameters that are not frozen, and buffers as carried."""
    values: Params = {n: each for n, each in model.named_parameters() if each.requires_grad}
    values |= {name: encode_buffer(each) for name, each in model.named_buffers()}
    return {name: values[name].detach().clone() for name in sorted(values)}


def call(model: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """What a model gives for inputs: those of a dictionary are its keyword arguments."""
    return model(**inputs) if isinstance(inputs, dict) else model(inputs)


def forward(task: Task, params: Params, inputs: Inputs) -> Tensor:
    """The model's float32 outputs [B, ...] with these parameters."""
    with Bound(task.model, task.rewritten).holding(params):
        return apply(task, task.model, inputs)


def apply(task: Task, model: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    """A model's float32 outputs [B, ...], in the task's precision."""
    _, first = next(tree.leaves(inputs))
    with _autocast(task.precision, first.device):
        outputs = call(model, inputs)
    return outputs.float()


def means(task: Task, model: Callable[[Tensor], Tensor], batch: Batch) -> tuple[Tensor, Metrics]:
    """The mean loss over a minibatch, to be differentiated, and the metrics.

    Args:
        task: what is learned.
        model: inputs -> outputs, with the parameters in it.
        batch: the minibatch.
    """
    outputs, spec = apply(task, model, batch.inputs), task.spec
    targets = spec.target(batch.inputs, batch.targets)
    loss = _mean(spec.losses(outputs, targets), _times(batch.weights, spec.weights(targets)))
    scores = spec.scores(outputs.detach(), targets)
    counts = _times(batch.weights, spec.counts(targets)) if scores else None
    means = {name: _mean(each, counts) for name, each in scores.items()}
    return loss, {"loss": loss.detach()} | means


def share_of(task: Task, part: Batch, whole: Batch, times: int = 1) -> Share:
    """What a part of a minibatch counts in the means over all of it, times a number."""
    count = task.spec.weights, task.spec.counts
    return Share(*(_total(each, task, part) * times / _total(each, task, whole) for each in count))


def _mean(values: Tensor, weights: Tensor | None) -> Tensor:
    """The mean of values [B]; 0 if none of them counts."""
    if weights is None:
        return values.mean()
    total = weights.sum()
    return (values * weights).sum() / total.where(total > 0, 1.0)


def _times(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    return other if one is None else one if other is None else one * other


def _total(count: Callable[[Tensor], Tensor | None], task: Task, batch: Batch) -> Tensor | float:
    """What a minibatch counts, never 0."""
    weights = _times(batch.weights, count(task.spec.target(batch.inputs, batch.targets)))
    if weights is None:
        return len(batch.targets)
    total = weights.sum()
    return total.where(total > 0, 1.0)


def eager(task: Task) -> Gradient:
    """The gradient by the module's own backward pass, for one client at a time."""
    bound = Bound(task.model, task.rewritten)

    def gradient(params: Params, batch: Batch) -> Gradients:
        with bound.holding(params):
            metrics = backward(task, task.model, batch)
            return Gradients(bound.grads(), bound.left(), metrics)

    return gradient


def backward(
    task: Task,
    model: Callable[[Tensor], Tensor],
    batch: Batch,
    portion: Share = WHOLE,
    unsynchronized: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Metrics:
    """Adds the gradient of the mean loss to that of the parameters, piece by piece.

    Args:
        task: what is learned.
        model: inputs -> outputs, with the parameters in it.
        batch: the minibatch; over ``task.microbatch`` it goes through the model in pieces.
        portion: what the gradient and the metrics are multiplied by, with the loss and with the
            scores.
        unsynchronized: the context of all pieces but the last.

    Returns:
        The metrics, times the portion.
    """
    parts = list(pieces(task, batch))
    total: Metrics = {}
    for number, (part, share) in enumerate(parts, 1):
        with nullcontext() if number == len(parts) else unsynchronized():
            loss, metrics = means(task, model, part)
            if len(parts) == 1 and portion is WHOLE:
                loss.backward()
                return metrics
            counts = Share(share.loss * portion.loss, share.scores * portion.scores)
            (loss * counts.loss).backward()
        for name, value in counts.of(metrics).items():
            total[name] = total.get(name, 0.0) + value
    return total


def functional(task: Task) -> Gradient:
    """The gradient by ``torch.func.grad``, for many clients under ``vmap``."""
    bound = Bound(task.model)
    trained = [name for name in bound.trained if name not in task.idle]

    def loss(inner: Params, outer: Params, batch: Batch) -> tuple[Tensor, tuple[Metrics, Params]]:
        with bound.swapped(inner | outer) as left:
            value, metrics = means(task, task.model, batch)
            return value, (metrics, left())

    differentiate = grad_and_value(loss, has_aux=True)

    def piece(params: Params, batch: Batch) -> Gradients:
        inner = {name: params[name] for name in trained}
        outer = {name: each for name, each in params.items() if name not in bound.trained}
        grads, (_, (metrics, buffers)) = differentiate(inner, outer, batch)
        return Gradients(grads, buffers, metrics)

    return piece if task.microbatch is None else _accumulate(piece, task)


def _accumulate(piece: Gradient, task: Task) -> Gradient:
    """``piece`` over at most a task's microbatch at a time, averaged by what its samples count."""

    def gradient(params: Params, batch: Batch) -> Gradients:
        parts = list(pieces(task, batch))
        if len(parts) == 1:
            return piece(params, batch)
        total: Gradients | None = None
        for part, share in parts:
            grads, buffers, metrics = piece(params, part)
            params = params | buffers
            scaled = {name: grad * share.loss for name, grad in grads.items()}
            given = Gradients(scaled, buffers, share.of(metrics))
            total = given if total is None else _sum(total, given)
        assert total is not None
        return total

    return gradient


def pieces(task: Task, batch: Batch) -> Iterator[tuple[Batch, Share]]:
    """The batch in pieces of a task's microbatch, each with its share of the whole."""
    samples = len(batch.targets)
    size = task.microbatch or samples
    for start in range(0, samples, size):
        part = batch.part(slice(start, start + size))
        yield part, share_of(task, part, batch) if size < samples else WHOLE


def _sum(a: Gradients, b: Gradients) -> Gradients:
    return Gradients(
        {name: a.grads[name] + grad for name, grad in b.grads.items()},
        b.buffers,
        {name: a.metrics[name] + value for name, value in b.metrics.items()},
    )


def _autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
