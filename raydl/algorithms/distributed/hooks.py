"""What processes do to the gradients that they exchange: communication hooks of torch's DDP."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, TypeAlias

import numpy as np
import torch
import torch.distributed as dist
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook

from raydl.core import tree
from raydl.core.errors import require
from raydl.core.gradient_sync import Bucket, GradientSync, GradientSyncSpec, Mean
from raydl.core.spec import OneOf
from raydl.core.tree import Tree

_FLOAT32, _BFLOAT16 = 4, 2  # bytes


def _group() -> dist.ProcessGroup:
    """All the processes that share each minibatch."""
    group = dist.group.WORLD
    assert group is not None
    return group


class _Whole(GradientSync):
    """Every number of the gradients, in one precision or another; nothing is kept."""

    contiguous = False

    def __init__(self, itemsize: int) -> None:
        self.calls = self.nbytes = 0
        self._itemsize = itemsize

    def mean(self, bucket: Bucket) -> Mean:
        self.calls += 1
        self.nbytes += bucket.buffer().numel() * self._itemsize
        rounded = self._itemsize == _BFLOAT16
        average = default_hooks.bf16_compress_hook if rounded else default_hooks.allreduce_hook
        return average(_group(), bucket)

    def state(self) -> Tree:
        return {}

    def restore(self, states: Sequence[Tree]) -> None:
        pass


@dataclass(frozen=True)
class Plain(GradientSyncSpec):
    """Gradients are exchanged as they are, in float32."""

    def open(self) -> GradientSync:
        """The exchange of one process."""
        return _Whole(_FLOAT32)


@dataclass(frozen=True)
class BF16(GradientSyncSpec):
    """Gradients are rounded to bfloat16, averaged, and go on as float32."""

    def open(self) -> GradientSync:
        """The exchange of one process."""
        return _Whole(_BFLOAT16)


@dataclass(frozen=True)
class PowerSGD(GradientSyncSpec):
    """Each gradient that is a matrix is exchanged as two thin ones, with error feedback.

    T. Vogels, S. Karimireddy, M. Jaggi, "PowerSGD: Practical Low-Rank Gradient Compression for
    Distributed Optimization", NeurIPS 2019. The hook is torch's.

    Args:
        rank: columns of the thin matrices.
        start: steps at the beginning of the run in which gradients are exchanged as they are.
        min_rate: factor by which a gradient must shrink; one that does not is exchanged as it is.
    """

    rank: int = 1
    start: int = 1000
    min_rate: float = 2.0

    def __post_init__(self) -> None:
        require(self.rank >= 1, "algorithm.hook.rank", self.rank, "1 or larger")
        require(self.start >= 2, "algorithm.hook.start", self.start, "2 or larger")
        require(self.min_rate >= 1, "algorithm.hook.min_rate", self.min_rate, "1 or larger")

    def open(self) -> GradientSync:
        """The exchange of one process."""
        return _LowRank(self)


AnyHook: TypeAlias = Annotated[GradientSyncSpec, OneOf("open", Plain, BF16, PowerSGD)]


class _LowRank(GradientSync):
    """Keeps the error that compression left, the thin matrices, and where its draws are."""

    contiguous = True

    def __init__(self, spec: PowerSGD) -> None:
        self.calls = self.nbytes = 0
        self._state = powerSGD_hook.PowerSGDState(_group(), spec.rank, spec.start, spec.min_rate)

    def mean(self, bucket: Bucket) -> Mean:
        state = self._state
        if state.iter < state.start_powerSGD_iter:
            self.calls += 1
            self.nbytes += bucket.buffer().numel() * _FLOAT32
            return powerSGD_hook.powerSGD_hook(state, bucket)
        before = state.total_numel_after_compression
        mean = powerSGD_hook.powerSGD_hook(state, bucket)
        if bucket.buffer().device.type == "cpu":
            # Gloo runs what follows in a thread of its own, where all-reduces of other buckets
            # could come in between: this bucket ends before the next one begins.
            mean.wait()
        self.calls += 3  # what is not compressed, and the two thin matrices
        self.nbytes += (state.total_numel_after_compression - before) * _FLOAT32
        return mean

    def state(self) -> Tree:
        state = self._state
        draws = state.rng.get_state(legacy=False)["state"]
        dicts = {
            "error": state.error_dict,
            "p": state.p_memory_dict,
            "q": state.q_memory_dict,
        }
        kept = {
            name: {str(bucket): tensor.cpu() for bucket, tensor in each.items()}
            for name, each in dicts.items()
        }
        return kept | {
            "step": torch.tensor(state.iter),
            "rng": torch.from_numpy(draws["key"].astype(np.int64)),
            "position": torch.tensor(draws["pos"]),
        }

    def restore(self, states: Sequence[Tree]) -> None:
        """A group of another size takes the mean error, which keeps what is still owed as it is."""
        rank, state = dist.get_rank(), self._state
        own = states[rank if len(states) == dist.get_world_size() else 0]
        errors = [each.get("error", {}) for each in states]
        if len(states) != dist.get_world_size():
            own = own | {"error": tree.map(lambda *each: torch.stack(each).mean(0), *errors)}
        for name, target in (
            ("error", state.error_dict),
            ("p", state.p_memory_dict),
            ("q", state.q_memory_dict),
        ):
            target |= {int(bucket): tensor.clone() for bucket, tensor in own.get(name, {}).items()}
        state.iter = int(own["step"])
        words = own["rng"].numpy().astype(np.uint32)
        state.rng.set_state(("MT19937", words, int(own["position"]), 0, 0.0))
