"""The gradient of a minibatch that the processes of a group share, by torch's DDP."""

import warnings

import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from raydl.core.grad import Batch, Gradients, Share, backward, share_of
from raydl.core.gradient_sync import GradientSync
from raydl.core.module import Bound
from raydl.core.rng import part_draws
from raydl.core.task import Task
from raydl.core.tree import Params


class SharedGradient:
    """A `Gradient` that every process of the group calls with the same parameters and minibatch.

    Each process takes its own stretch of the minibatch, and DDP averages the gradients beside the
    backward pass. A minibatch over ``task.microbatch`` goes through the model in pieces, of which
    the last one's backward pass exchanges the sum.

    The metrics are this process's part: their mean over the processes is that of the minibatch. So
    are the buffers: what a process's own stretch left of those that it was given.

    Args:
        task: what is learned.
        sync: how the gradients are averaged.
    """

    def __init__(self, task: Task, sync: GradientSync) -> None:
        self._task, self._sync = task, sync
        self._rank, self._size = dist.get_rank(), dist.get_world_size()
        self._bound = Bound(task.model, task.rewritten)
        self._model: DistributedDataParallel | None = None

    def __call__(self, params: Params, batch: Batch) -> Gradients:
        """The gradient of the mean loss over the whole minibatch."""
        if self._sync.contiguous:
            params = {name: each.contiguous() for name, each in params.items()}
        with self._bound.holding(params):
            model = self._model = self._model or self._wrap()
            part_draws(self._rank, host=self._task.host_draws)
            own, portion = self._own(batch)
            metrics = backward(self._task, model, own, portion, model.no_sync)
            return Gradients(self._bound.grads(), self._bound.left(), metrics)

    def _own(self, batch: Batch) -> tuple[Batch, Share]:
        """This process's stretch, and what its mean weighs in the mean over the processes."""
        samples = len(batch.targets)
        start, stop = (at * samples // self._size for at in (self._rank, self._rank + 1))
        own = batch.part(slice(start, stop))
        return own, share_of(self._task, own, batch, self._size)

    def _wrap(self) -> DistributedDataParallel:
        # DDP would sort its buckets anew after the first step, so that a run that was taken up
        # again would add up in another order; it does not where some gradients may be missing.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")
            model = DistributedDataParallel(
                self._task.model,
                init_sync=False,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
                find_unused_parameters=True,
            )
        model.register_comm_hook(self._sync, lambda sync, bucket: sync.mean(bucket))
        return model
