"""The gradient of a minibatch that the processes of a group share, by torch's DDP."""

import copy
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from raydl.core.exchange import Exchange
from raydl.core.grad import Batch, Gradients, Task, means, pieces
from raydl.core.rng import part_dropout
from raydl.core.tree import Params


class SharedGradient:
    """A `Gradient` that every process of the group calls with the same parameters and minibatch.

    Each process takes its own stretch of the minibatch, and DDP averages the gradients beside the
    backward pass. A minibatch over ``task.microbatch`` goes through the model in pieces, of which
    the last one's backward pass exchanges the sum.

    The metrics are this process's part: their mean over the processes is that of the minibatch.

    Args:
        task: what is learned.
        exchange: what is done to the gradients.
    """

    def __init__(self, task: Task, exchange: Exchange) -> None:
        self._task, self._exchange = task, exchange
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._model: DistributedDataParallel | None = None

    def __call__(self, params: Params, batch: Batch) -> Gradients:
        """The gradient of the mean loss over the whole minibatch."""
        model = self._model = self._model or self._wrapped(params)
        self._set(model.module, params)
        part_dropout(self._rank)
        own, portion = self._own(batch)
        total: dict[str, torch.Tensor] = {}
        parts = list(pieces(own, self._task.microbatch or len(own.targets)))
        for number, (part, share) in enumerate(parts, 1):
            with nullcontext() if number == len(parts) else model.no_sync():
                loss, metrics = means(self._task, model, part)
                (loss * (share * portion)).backward()
            for name, value in metrics.items():
                total[name] = total.get(name, 0.0) + value * (share * portion)
        grads = {name: each.grad for name, each in model.module.named_parameters()}
        buffers = {
            name: each.detach().clone()
            for name, each in model.module.named_buffers()
            if each.is_floating_point()
        }
        return Gradients(grads, buffers, total)

    def _own(self, batch: Batch) -> tuple[Batch, float]:
        """This process's stretch, and what its mean weighs in the mean over the processes."""
        samples = len(batch.targets)
        start, stop = (at * samples // self._size for at in (self._rank, self._rank + 1))
        own = Batch(batch.inputs[start:stop], batch.targets[start:stop])
        return own, (stop - start) * self._size / samples

    def _wrapped(self, params: Params) -> DistributedDataParallel:
        module = copy.deepcopy(self._task.model)
        self._set(module, params)
        # DDP would sort its buckets anew after the first step, so that a run that was taken up
        # again would add up in another order; it does not where some gradients may be missing.
        model = DistributedDataParallel(
            module,
            init_sync=False,
            gradient_as_bucket_view=True,
            find_unused_parameters=True,
        )
        model.register_comm_hook(self._exchange, lambda exchange, bucket: exchange.mean(bucket))
        return model

    def _set(self, module: nn.Module, params: Params) -> None:
        """Gives the module these parameters, without a copy, and no gradients."""
        for name, parameter in module.named_parameters():
            value = params[name].detach()
            parameter.data = value.contiguous() if self._exchange.contiguous else value
            parameter.grad = None
        for name, buffer in module.named_buffers():
            if name in params:
                buffer.data = params[name].detach().clone()
