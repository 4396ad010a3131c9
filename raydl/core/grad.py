"""A model's loss and its gradient: the one place where a model meets an algorithm.

A `Gradient` takes parameters and a minibatch and gives the gradient of the mean loss. There are two
of them, with the same numbers up to rounding: `eager` has the module itself make a pass forward and
one backward, as a plain loop does; `functional` is made of ``torch.func`` and works under ``vmap``.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from raydl.core import tree
from raydl.core.module import Bound, encode_buffer
from raydl.core.tree import Params

Inputs: TypeAlias = Tensor | dict[str, Tensor]  # [B, ...]; or several by the model's argument
Precision: TypeAlias = Literal["float32", "bf16"]
Metrics: TypeAlias = dict[str, Tensor]  # names to scalars
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # outputs [B, ...], targets [B, ...] -> [B]


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
        metrics: ``loss`` and ``accuracy``, means over the minibatch.
    """

    grads: Params
    buffers: Params
    metrics: Metrics


Gradient: TypeAlias = Callable[[Params, Batch], Gradients]


class Task(NamedTuple):
    """What is learned: a model and its loss.

    Attributes:
        model: gives the structure; its own parameters are only the first values.
        loss: (outputs, targets) -> each sample's loss, [B].
        precision: ``float32``, or ``bf16`` for autocast with float32 parameters.
        microbatch: samples that go through the model at once, at most; the gradients of the
            pieces of a larger minibatch are averaged by size.
        rewritten: parameters that a training pass writes to by itself.
        idle: parameters that a training pass does not come by, which ``torch.func`` cannot tell
            from those whose gradient is zero.
        host_draws: whether a training pass draws from Python's or numpy's generators.
    """

    model: nn.Module
    loss: Loss
    precision: Precision = "float32"
    microbatch: int | None = None
    rewritten: frozenset[str] = frozenset()
    idle: frozenset[str] = frozenset()
    host_draws: bool = False


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Each sample's cross-entropy [B]: of logits [B, classes], or the mean of [B, T, classes]."""
    # Under vmap this takes half the time of nn.functional.cross_entropy, and alone the same.
    losses = -outputs.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


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
        return _outputs(task, task.model, inputs)


def means(task: Task, model: Callable[[Tensor], Tensor], batch: Batch) -> tuple[Tensor, Metrics]:
    """The mean loss over a minibatch, to be differentiated, and the metrics.

    Args:
        task: what is learned.
        model: inputs -> outputs, with the parameters in it.
        batch: the minibatch.
    """
    outputs = _outputs(task, model, batch.inputs)
    hits = (outputs.detach().argmax(-1) == batch.targets).float()
    each = task.loss(outputs, batch.targets), hits.flatten(1).mean(1) if hits.dim() > 1 else hits
    if batch.weights is None:
        loss, accuracy = (values.mean() for values in each)
    else:
        weight = batch.weights.sum().clamp(min=1)
        loss, accuracy = ((values * batch.weights).sum() / weight for values in each)
    return loss, {"loss": loss.detach(), "accuracy": accuracy}


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
    portion: float = 1.0,
    unsynchronized: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> Metrics:
    """Adds the gradient of the mean loss to that of the parameters, piece by piece.

    Args:
        task: what is learned.
        model: inputs -> outputs, with the parameters in it.
        batch: the minibatch; over ``task.microbatch`` it goes through the model in pieces.
        portion: what the gradient and the metrics are multiplied by.
        unsynchronized: the context of all pieces but the last.

    Returns:
        The metrics, times the portion.
    """
    parts = list(pieces(batch, task.microbatch or len(batch.targets)))
    total: Metrics = {}
    for number, (part, share) in enumerate(parts, 1):
        with nullcontext() if number == len(parts) else unsynchronized():
            loss, metrics = means(task, model, part)
            if len(parts) == 1 and portion == 1:
                loss.backward()
                return metrics
            (loss * (share * portion)).backward()
        for name, value in metrics.items():
            total[name] = total.get(name, 0.0) + value * (share * portion)
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

    return _accumulate(piece, task.microbatch)


def _outputs(task: Task, model: Callable[..., Tensor], inputs: Inputs) -> Tensor:
    _, first = next(tree.leaves(inputs))
    with _autocast(task.precision, first.device):
        outputs = call(model, inputs)
    return outputs.float()


def _accumulate(piece: Gradient, microbatch: int | None) -> Gradient:
    """``piece`` over at most ``microbatch`` samples at a time, averaged by their weights."""
    if microbatch is None:
        return piece

    def gradient(params: Params, batch: Batch) -> Gradients:
        if len(batch.targets) <= microbatch:
            return piece(params, batch)
        total: Gradients | None = None
        for part, share in pieces(batch, microbatch):
            grads, buffers, metrics = piece(params, part)
            params = params | buffers
            scaled = (
                {name: grad * share for name, grad in grads.items()},
                buffers,
                {name: value * share for name, value in metrics.items()},
            )
            total = Gradients(*scaled) if total is None else _sum(total, Gradients(*scaled))
        assert total is not None
        return total

    return gradient


def pieces(batch: Batch, size: int) -> Iterator[tuple[Batch, Tensor | float]]:
    """The batch in pieces of ``size``, each with its share of the whole's weight."""
    samples = len(batch.targets)
    for start in range(0, samples, size):
        stretch = slice(start, min(start + size, samples))
        part = batch.part(stretch)
        if batch.weights is None or part.weights is None:
            yield part, (stretch.stop - start) / samples
        else:
            yield part, part.weights.sum() / batch.weights.sum().clamp(min=1)


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
