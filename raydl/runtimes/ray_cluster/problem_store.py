"""A problem in Ray's object store: its samples lie there once for all of a node.

Samples in mapped files stay where they are: their place is sent, and each process maps them.
Windows of a text are sent as the text and their positions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import ray
from ray import cloudpickle
from torch import Tensor, nn

from raydl.core import tree
from raydl.core.environment.stages import enter
from raydl.core.grad import parameters
from raydl.core.module import Complete, complete, has_hooks, restore
from raydl.data.dataset import Dataset, Split
from raydl.data.prepared.mapping import Place
from raydl.data.prepared.rows import Rows
from raydl.data.text.windows import Windows
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.transport import as_tensor

_PARTS = ("train", "validation", "test")
SharedSamples: TypeAlias = np.ndarray | Place | Windows
Arrays: TypeAlias = dict[str, SharedSamples]  # by split and name: samples, or where they lie


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredDataset(Dataset):
    """A data set whose samples lie in Ray's object store too, once for all who use it.

    Args:
        arrays: reference to them, for `with_samples`.
    """

    arrays: ray.ObjectRef[Any]


def store_dataset(dataset: Dataset) -> StoredDataset:
    """The data set, with its samples put into the object store unless they are there."""
    if isinstance(dataset, StoredDataset):
        return dataset
    splits = {part: getattr(dataset, part)._asdict() for part in _PARTS}
    arrays = {path: _as_sent(each) for path, each in tree.leaves(splits)}
    return StoredDataset(**vars(dataset), arrays=ray.put(arrays))


def without_samples(dataset: StoredDataset) -> StoredDataset:
    """The data set without its samples, which is little to send."""
    return replace(dataset, **{part: getattr(dataset, part).none() for part in _PARTS})


def with_samples(dataset: Dataset, arrays: Arrays) -> Dataset:
    """The data set with the samples that `without_samples` took out; they lie in Ray's memory.

    Raises:
        SpecError: if this node does not have the files of those that are mapped.
    """
    splits = tree.from_leaves({path: _samples(sent) for path, sent in arrays.items()})
    train, validation, test = (Split(**splits[part]) for part in _PARTS)
    return replace(dataset, train=train, validation=validation, test=test)


def _as_sent(samples: Tensor) -> SharedSamples:
    if isinstance(samples, Rows):
        return samples.stored.place
    return samples if isinstance(samples, Windows) else samples.numpy()


def _samples(sent: SharedSamples) -> Tensor:
    if isinstance(sent, Windows):
        return sent
    return sent.open() if isinstance(sent, Place) else as_tensor(sent)


def share_problem(problem: Problem) -> tuple[ray.ObjectRef[Any], ray.ObjectRef[Any]]:
    """References to a problem without its samples, and to the samples: for `attach_problem`."""
    enter("sending the data to the workers")
    dataset = store_dataset(problem.dataset)
    nobodys = replace(dataset, owners=None, validation_owners=None, test_owners=None)
    without = replace(problem, dataset=without_samples(nobodys))
    if problem.make is None:
        return ray.put(without), dataset.arrays
    if not has_hooks(problem.task.model):
        try:
            return ray.put(without), dataset.arrays
        except Exception:  # whatever the user's module says of being pickled
            if _can_be_pickled(without.task.model):
                raise
    model = problem.task.model
    remade = Remade(problem.make, complete(model, parameters(model)))
    task = problem.task._replace(model=remade)  # type: ignore[arg-type]
    return ray.put(replace(without, task=task)), dataset.arrays


class Remade(NamedTuple):
    """A module on its way to where it is made anew, since it cannot be pickled whole."""

    make: Callable[[], nn.Module]
    tensors: Complete


def attach_problem(problem: Problem, arrays: Arrays) -> Problem:
    """The problem with its samples, see `with_samples`, and its module."""
    task = problem.task
    if isinstance(task.model, Remade):
        model = task.model.make()
        restore(model, task.model.tensors)
        task = task._replace(model=model)
    return replace(problem, dataset=with_samples(problem.dataset, arrays), task=task)


def _can_be_pickled(model: nn.Module) -> bool:
    try:
        cloudpickle.dumps(model)
    except Exception:  # noqa: BLE001  # whatever the user's module says
        return False
    return True
