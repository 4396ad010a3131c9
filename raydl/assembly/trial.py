"""Training passes over two samples, before any work: what a model does, and whether it can be run.

A model is the user's own code, which may keep state where no checkpoint would find it, draw from
generators that nobody seeds, or leave parameters out. Here it makes a few passes from the same
parameters and seeds, and what differs between them is told.
"""

import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from raydl.assembly.attributes import attributes, attributes_kept, same
from raydl.core.environment import compat
from raydl.core.errors import SpecError, first_sentence, require
from raydl.core.grad import Batch, call, means, parameters
from raydl.core.module import Bound, ModuleError, frozen_parameters, submodule
from raydl.core.rng import forked, seed_draws
from raydl.core.task import Inputs, Task
from raydl.core.tree import Params
from raydl.data.batches import two_samples
from raydl.data.dataset import Dataset
from raydl.runtimes.worker.evaluation import score_outputs


class Trial(NamedTuple):
    """What was tried.

    Attributes:
        task: with what is known of its model now.
        hidden: parameters whose gradient came from inside of another backward pass.
    """

    task: Task
    hidden: list[str]


class _Pass(NamedTuple):
    """What a training pass did.

    Attributes:
        loss: the mean loss.
        trained: parameters that have a gradient.
        hidden: those of them whose gradient came from inside of another backward pass.
        written: parameters that it wrote to.
        host_draws: whether it drew from Python's or numpy's generators.
        left: what it left of parameters and buffers.
        attributes: what it left of the modules' Python attributes, by name.
    """

    loss: Tensor
    trained: set[str]
    hidden: set[str]
    written: set[str]
    host_draws: bool
    left: Params
    attributes: dict[str, Any]


def try_out(task: Task, dataset: Dataset, seed: int = 0) -> Trial:
    """The task, with what a few passes over two samples show of its model.

    Raises:
        SpecError: if the model cannot take the samples, gives what the loss cannot take, has no
            parameter that can be trained, or changes from pass to pass what is no buffer.
    """
    batch, model = two_samples(dataset), task.model
    name = type(model).__name__
    with forked(host=True), attributes_kept(model):
        seed_draws(seed, "trial", host=True)
        _check_tensors(model)
        outputs = _check_outputs(task, batch, dataset)
        task = _check_scores(task, batch, outputs)
        model.train()
        _warm_up(task, batch, dataset)
        try:
            first, second = (_pass(task, batch, seed) for _ in range(2))
        except SpecError:
            raise
        except ModuleError as error:
            raise SpecError(str(error)) from error
        except Exception as error:
            raise SpecError(
                f"model {name} cannot make a training pass over samples of {dataset.name}: "
                f"{first_sentence(error)}"
            ) from error
    _check_repeats(name, first, second)
    if astray := sorted(first.written - first.trained):
        raise SpecError(
            f"the model writes to its parameter {astray[0]} in forward, which has no gradient; "
            "register it as a buffer, or leave it alone"
        )
    task = task._replace(
        rewritten=frozenset(first.written),
        idle=frozenset(Bound(model).trained.keys() - first.trained),
        host_draws=first.host_draws,
    )
    return Trial(task, sorted(first.hidden))


def trains_on_one(task: Task, dataset: Dataset) -> str | None:
    """Why the model cannot train on a minibatch of a single sample; None if it can."""
    one = two_samples(dataset).part(slice(1))
    with forked(host=True), attributes_kept(task.model):
        task.model.train()
        try:
            _pass(task, one, 0)
        except (RuntimeError, ValueError, IndexError) as error:
            return first_sentence(error)
    return None


def _check_tensors(model: nn.Module) -> None:
    for name, each in [*model.named_buffers(), *model.named_parameters()]:
        if each.layout != torch.strided or each.is_quantized or each.is_meta:
            raise SpecError(
                f"the model's {name} is of type {each.dtype} and layout {each.layout}, on "
                f"{each.device}; parameters and buffers must be dense tensors with values"
            )


def _check_outputs(task: Task, batch: Batch, dataset: Dataset) -> Tensor:
    """The outputs for two samples, float32."""
    name, model = type(task.model).__name__, task.model
    model.eval()
    with torch.no_grad(), _copying(model).holding(parameters(model)):
        try:
            outputs = call(model, batch.inputs)
        except Exception as error:
            raise SpecError(
                f"model {name} cannot take the samples of {dataset.name}, of shape "
                f"{dataset.shape} and type {_types(batch.inputs)}: {first_sentence(error)}"
                f"{submodule(model, lambda: call(model, batch.inputs))}{_hint(batch.inputs)}"
            ) from error
    if not isinstance(outputs, Tensor) or outputs.is_complex():
        kind = outputs.dtype if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise SpecError(
            f"model {name} gives {kind}; it must give one real tensor, the logits: wrap it in a "
            "module that does"
        )
    targets, spec = task.spec.target(batch.inputs, batch.targets), task.spec
    count = spec.outputs(dataset.classes, batch.targets)
    shape, due = tuple(outputs.shape), spec.output_shape(targets, count)
    if due is not None and shape != due:
        raise SpecError(
            f"model {name} gives outputs of shape {shape} for {len(targets)} samples of "
            f"{dataset.name}; for task {type(spec).__name__} and targets of shape "
            f"{tuple(targets.shape)} they must be {due}"
        )
    return outputs.float()


def _check_scores(task: Task, batch: Batch, outputs: Tensor) -> Task:
    """The task with the names of its metrics, after it was asked what two samples are worth."""
    spec, title, many = task.spec, type(task.spec).__name__, len(batch.targets)
    targets = spec.target(batch.inputs, batch.targets)
    try:
        with torch.no_grad():
            losses, scores = spec.losses(outputs, targets), spec.scores(outputs, targets)
            _check_of_each({"losses": losses, **scores}, title, many)
            score = score_outputs(spec, outputs, targets)
            metrics = [name for name in score.metrics(spec) if name != "loss"]
    except SpecError:
        raise
    except Exception as error:
        raise SpecError(
            f"task {title} cannot score {many} samples, of outputs of shape "
            f"{tuple(outputs.shape)} and targets {targets.dtype} of shape "
            f"{tuple(targets.shape)}: {first_sentence(error)}"
        ) from error
    require("loss" not in scores, f"a score of task {title}", "loss", "called otherwise")
    known = ["loss", *metrics]
    require(spec.best in known, f"task {title}'s best", spec.best, f"one of {', '.join(known)}")
    return task._replace(scores=tuple(scores), metrics=tuple(metrics))


def _check_of_each(figures: Mapping[str, Tensor], title: str, samples: int) -> None:
    """Raises a SpecError unless a task says its figures for each sample."""
    for what, values in figures.items():
        shape = tuple(values.shape)
        allowed = f"({samples},), one for each sample: leave the mean out, as reduction='none' does"
        require(shape == (samples,), f"the shape of task {title}'s {what}", shape, allowed)


def _types(inputs: Inputs) -> str:
    if isinstance(inputs, Tensor):
        return str(inputs.dtype)
    return ", ".join(f"{each.dtype} ({name})" for name, each in inputs.items())


def _hint(inputs: Inputs) -> str:
    if isinstance(inputs, dict):
        return f". It is called as model({', '.join(map('{}=...'.format, inputs))})" + "".join(
            f", where {name} holds integers from {int(each.min())} to {int(each.max())}"
            for name, each in inputs.items()
            if each.dtype == torch.int64
        )
    if inputs.dtype != torch.int64:
        return ""
    low, high = int(inputs.min()), int(inputs.max())
    return (
        f". The samples hold integers from {low} to {high}, which are token ids; give features "
        "as floating-point numbers"
    )


def _warm_up(task: Task, batch: Batch, dataset: Dataset) -> None:
    """Makes a first pass, in which a model may still make parts of itself."""
    model = task.model
    with _copying(model).holding(parameters(model)):
        try:
            loss, _ = means(task, model, batch)
        except Exception as error:
            raise SpecError(
                f"model {type(model).__name__} and its loss cannot take the samples of "
                f"{dataset.name} in training, with targets of shape "
                f"{tuple(batch.targets.shape)}: {first_sentence(error)}{_precision(task, batch)}"
            ) from error
    if not loss.requires_grad:
        raise SpecError(
            f"model {type(model).__name__} has no parameter that requires a gradient and has an "
            "influence on its outputs: there is nothing to train"
        )


def _precision(task: Task, batch: Batch) -> str:
    """What to do where a pass fails in bf16 alone: not every CPU has all operations in it."""
    try:
        means(task._replace(precision="float32"), task.model, batch)
    except Exception:  # noqa: BLE001  # then that is not the reason
        return ""
    return f". In float32 they can: leave --precision {task.precision} out"


def _pass(task: Task, batch: Batch, seed: int) -> _Pass:
    """A training pass from the module's own parameters, which are copied."""
    bound = _copying(task.model)
    stay = {name: each.clone() for name, each in frozen_parameters(task.model).items()}
    seed_draws(seed, "trial", host=True)
    drawn, given = _host_states(), parameters(task.model)
    with bound.holding(given):
        versions = {name: compat.version(each) for name, each in bound.trained.items()}
        loss, _ = means(task, task.model, batch)
        seen = _reachable(loss)
        loss.backward()
        trained, left, kept = set(bound.grads()), bound.left(), attributes(task.model)
        written = {
            name
            for name, each in bound.trained.items()
            if compat.version(each) != versions[name] or not torch.equal(each, given[name])
        }
    for name, each in frozen_parameters(task.model).items():
        if not torch.equal(each, stay[name]):
            raise SpecError(
                f"the model's parameter {name} is frozen (requires_grad=False), but a training "
                "pass writes to it; register it as a buffer"
            )
    of_graph = {name for name in trained if id(bound.trained[name]) in seen}
    host_draws = not same(drawn, _host_states())
    return _Pass(loss.detach(), trained, trained - of_graph, written, host_draws, left, kept)


def _copying(model: nn.Module) -> Bound:
    """The module bound so that a pass may write to any of its parameters."""
    return Bound(model, Bound(model).trained)


def _reachable(loss: Tensor) -> set[int]:
    """The ids of the parameters that the graph of a loss names."""
    found: set[int] = set()
    nodes, seen = [loss.grad_fn], set()
    while nodes:
        node = nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (variable := getattr(node, "variable", None)) is not None:
            found.add(id(variable))
        nodes += [each for each, _ in node.next_functions]
    return found


def _check_repeats(model: str, first: _Pass, second: _Pass) -> None:
    for name, was in first.attributes.items():
        if not same(was, second.attributes.get(name)):
            raise SpecError(
                f"{model}'s attribute {name} changes from one training pass to the next, but is no "
                "buffer: it would stay in the process, and the numbers would depend on the number "
                "of workers; make it one (register_buffer), in a tensor that passes write to"
            )
    if not same(first.loss, second.loss) or not same(first.left, second.left):
        raise SpecError(
            f"two training passes of {model} over the same samples, from the same parameters and "
            "seeds, differ: it keeps state that is neither a parameter nor a buffer, or draws from "
            "a generator of its own; keep state in buffers, and draw from the global generators of "
            "torch, numpy or random, which are seeded"
        )


def _host_states() -> Any:
    return random.getstate(), np.random.get_state()
