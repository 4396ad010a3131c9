"""Whether many clients of a problem can train as one ``vmap``: looked for, and tried."""

from functools import partial

import torch
from torch import Tensor, nn

from raydl.core import tree
from raydl.core.environment.compat import BATCH_NORMS, RUNNING_NORMS
from raydl.core.errors import SpecError, first_sentence
from raydl.core.grad import Batch, Gradients, eager, functional, parameters
from raydl.core.module import submodule
from raydl.core.rng import forked, seed_draws
from raydl.data.batches import two_samples
from raydl.runtimes.problem import Problem

_MENDS = "train one client at a time: --runtime sequential, or actors without --runtime.batched"


def check_batchable(problem: Problem) -> None:
    """Raises a SpecError if the model cannot run under ``vmap`` over clients.

    Two clients of two samples are tried, and their gradient is compared with that of each alone.
    """
    _check_layers(problem.task.model)
    task, batch = problem.task, two_samples(problem.dataset)
    model = task.model
    params = parameters(model)
    each = {name: value.expand(2, *value.shape).clone() for name, value in params.items()}
    weights = torch.ones(2, len(batch.targets))
    inputs, targets = (
        tree.map(lambda each: each.expand(2, *each.shape), part) for part in batch[:2]
    )
    both = Batch(inputs, targets, weights)
    seed = partial(seed_draws, problem.seed, "trial", host=True)

    def together() -> Gradients:
        seed()
        given: Gradients = torch.vmap(functional(task), randomness="different")(each, both)
        return given

    with forked(host=True):
        model.train()
        try:
            batched = together()
        except Exception as error:
            raise SpecError(
                f"the model {type(model).__name__} cannot train under vmap"
                f"{submodule(model, together)}: {first_sentence(error)}; {_MENDS}"
            ) from error
        seed()
        alone = eager(task)(params, batch)
        seed_draws(problem.seed, "another trial", host=True)
        again = eager(task)(params, batch)
    if not all(_close(again.grads[name], grad) for name, grad in alone.grads.items()):
        return  # a pass draws, which it does otherwise under vmap
    for kind in ("grads", "buffers"):
        one, two = getattr(alone, kind), getattr(batched, kind)
        for name in sorted(one.keys() | two.keys()):
            if name not in one or name not in two or not _close(two[name][0], one[name]):
                raise SpecError(
                    f"under vmap the model {type(model).__name__} gives other {kind} of {name} "
                    f"than by itself: it has hooks on parameters, or changes by the way, what vmap "
                    f"does not follow; {_MENDS}"
                )


def _close(one: Tensor, other: Tensor) -> bool:
    """Whether two gradients are equal up to rounding, beside the largest of their entries."""
    scale = float(other.abs().nan_to_num().max()) if other.numel() else 0.0
    rounding = 0.1 if other.itemsize < 4 else 1e-3
    return torch.allclose(one, other, rtol=rounding, atol=rounding * scale + 1e-7, equal_nan=True)


def _check_layers(model: nn.Module) -> None:
    """Raises a SpecError for a layer that a ``vmap`` gets wrong, or is slow at."""
    for name, module in model.named_modules():
        if hindrance := _hindrance(module):
            raise SpecError(
                f"the model's {name or 'root'} is a {type(module).__name__}, whose {hindrance}"
                f"{_MENDS}"
            )


def _hindrance(module: nn.Module) -> str:
    """What stands between a layer and a ``vmap``, and what could be used for it; empty if nothing.

    An LSTM's clients would train in a loop: on a CPU, with two layers of 256 units, each of them
    takes 4.3 times as long as alone. GRUs, up to 7 times as fast side by side, are welcome.
    """
    normalize = "; use GroupNorm or another normalization within each sample, or "
    if isinstance(module, nn.LSTM):
        return "kernels have no rule for vmap, so that a client takes up to 4 times as long; "
    if isinstance(module, RUNNING_NORMS) and module.track_running_stats:
        return f"running statistics change in place, which a vmap cannot follow{normalize}"
    if isinstance(module, BATCH_NORMS):
        padded = "statistics would count the samples that pad a smaller client's minibatch"
        return f"{padded}{normalize}"
    return ""
