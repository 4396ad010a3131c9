"""A model's loss and its gradient: the one place where a model meets an algorithm.

A `Gradient` takes parameters and a minibatch and gives the gradient of the mean loss. There are two
of them, with the same numbers up to rounding: `eager` records the graph with autograd, which costs
least for one client at a time; `functional` is made of ``torch.func`` and works under ``vmap``.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value

from raydl.core.tree import Params

Precision: TypeAlias = Literal["float32", "bf16"]
Metrics: TypeAlias = dict[str, Tensor]  # names to scalars
Loss: TypeAlias = Callable[[Tensor, Tensor], Tensor]  # outputs [B, ...], targets [B, ...] -> [B]


class Batch(NamedTuple):
    """A minibatch as the model takes it.

    Attributes:
        inputs: [B, ...].
        targets: [B, ...].
        weights: float [B], 1 for a sample and 0 for padding; None if nothing is padded.
    """

    inputs: Tensor
    targets: Tensor
    weights: Tensor | None = None


class Gradients(NamedTuple):
    """What a `Gradient` gives.

    Attributes:
        grads: the mean loss's gradient, for each trainable parameter.
        buffers: the new values of the model's floating-point buffers (running statistics); they
            are part of the parameters that travel, but not trained.
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
        microbatch: at most so many samples go through the model at once; the gradients of the
            pieces of a larger minibatch are averaged by size.
    """

    model: nn.Module
    loss: Loss
    precision: Precision = "float32"
    microbatch: int | None = None


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Each sample's cross-entropy [B]: of logits [B, classes], or the mean of [B, T, classes]."""
    # Under vmap this takes half the time of nn.functional.cross_entropy, and alone the same.
    losses = -outputs.log_softmax(-1).gather(-1, targets.unsqueeze(-1)).squeeze(-1)
    return losses.flatten(1).mean(1) if losses.dim() > 1 else losses


def parameters(model: nn.Module) -> Params:
    """Copies of the model's parameters and floating-point buffers: what training changes."""
    named = {**dict(model.named_parameters()), **_buffers(model)}
    return {name: tensor.detach().clone() for name, tensor in named.items()}


def forward(task: Task, params: Params, inputs: Tensor) -> Tensor:
    """The model's float32 outputs [B, ...] with these parameters."""
    return _outputs(task, _with(task, params), inputs)


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
    """The gradient by autograd, for one client at a time."""
    trained, buffered = _names(task.model)

    def piece(params: Params, batch: Batch) -> Gradients:
        inner = {name: params[name].detach().requires_grad_() for name in trained}
        buffers = {name: params[name].detach().clone() for name in buffered}
        loss, metrics = means(task, _with(task, inner | buffers), batch)
        grads = torch.autograd.grad(loss, list(inner.values()), materialize_grads=True)
        return Gradients(dict(zip(inner, grads, strict=True)), buffers, metrics)

    return _accumulated(piece, task.microbatch)


def functional(task: Task) -> Gradient:
    """The gradient by ``torch.func.grad``, for many clients under ``vmap``.

    Running statistics change in place, which ``vmap`` cannot follow: a model that has any is the
    caller's to refuse.
    """
    trained, buffered = _names(task.model)

    def loss(inner: Params, buffers: Params, batch: Batch) -> tuple[Tensor, Metrics]:
        return means(task, _with(task, inner | buffers), batch)

    differentiate = grad_and_value(loss, has_aux=True)

    def piece(params: Params, batch: Batch) -> Gradients:
        buffers = {name: params[name] for name in buffered}
        inner = {name: params[name] for name in trained}
        grads, (_, metrics) = differentiate(inner, buffers, batch)
        return Gradients(grads, buffers, metrics)

    return _accumulated(piece, task.microbatch)


def _with(task: Task, params: Params) -> Callable[[Tensor], Tensor]:
    return lambda inputs: functional_call(task.model, params, (inputs,))


def _outputs(task: Task, model: Callable[[Tensor], Tensor], inputs: Tensor) -> Tensor:
    with _autocast(task.precision, inputs.device):
        outputs = model(inputs)
    return outputs.float()


def _accumulated(piece: Gradient, microbatch: int | None) -> Gradient:
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
        if batch.weights is None:
            part = Batch(batch.inputs[stretch], batch.targets[stretch])
            yield part, (stretch.stop - start) / samples
        else:
            weights = batch.weights[stretch]
            share = weights.sum() / batch.weights.sum().clamp(min=1)
            yield Batch(batch.inputs[stretch], batch.targets[stretch], weights), share


def _sum(a: Gradients, b: Gradients) -> Gradients:
    return Gradients(
        {name: a.grads[name] + grad for name, grad in b.grads.items()},
        b.buffers,
        {name: a.metrics[name] + value for name, value in b.metrics.items()},
    )


def _names(model: nn.Module) -> tuple[list[str], list[str]]:
    return [name for name, _ in model.named_parameters()], list(_buffers(model))


def _buffers(model: nn.Module) -> Params:
    return {name: each for name, each in model.named_buffers() if each.is_floating_point()}


def _autocast(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    if precision == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
