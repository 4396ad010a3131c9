"""Checks of what own sources, partitions, participations and augmentations give."""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from raydl.core import tree
from raydl.core.errors import SpecError, brief, require
from raydl.core.rng import generator
from raydl.core.task import Inputs
from raydl.core.tree import Tree
from raydl.data.batches import Augmentation
from raydl.data.dataset import Dataset, Split
from raydl.data.participations.participation import ParticipationSpec
from raydl.data.participations.selector import (
    Cohort,
    Moment,
    Selector,
    SelectorSpec,
    first_cohort,
    stream,
)
from raydl.data.participations.skewed import Skewed
from raydl.data.participations.uniform import Uniform
from raydl.data.partitions.partition import Partition

_OURS = (Skewed, Uniform)
_LOOKED_AT = 1000  # cohorts of an own participation, before the run


def check_dataset(dataset: Dataset) -> None:
    """Raises a SpecError unless each split has inputs and targets that fit, and owners do, too."""
    for name in ("train", "validation", "test"):
        split: Split = getattr(dataset, name)
        samples, targets = _count_inputs(name, split.inputs, dataset.train.inputs), split.targets
        require(samples > 0 or name != "train", "data", dataset.name, "one with training samples")
        fits = len(targets) == samples
        allowed = f"{samples}, as many as there are inputs"
        require(fits, f"the number of data's {name} targets", len(targets), allowed)
        if (owners := dataset.owners_of(name)) is not None:
            shape, due = tuple(owners.shape), (samples,)
            whose, called = ("", "training") if name == "train" else (f"{name} ", name)
            each = f"{due}: one for each {called} sample"
            require(shape == due, f"the shape of data's {whose}owners", shape, each)


def _count_inputs(name: str, inputs: Inputs, train: Inputs) -> int:
    """The number of samples of a split; each in a dictionary of inputs has as many."""
    if isinstance(inputs, Tensor) and isinstance(train, Tensor):
        return len(inputs)
    names, due = ([*each] if isinstance(each, dict) else "a tensor" for each in (inputs, train))
    fits = len(names) > 0 and sorted(names) == sorted(due)
    require(fits, f"data's {name} inputs", names, f"one or more, and as in train: {due}")
    lengths = {path: len(each) for path, each in tree.leaves(inputs)}
    allowed = "as many of each"
    require(len({*lengths.values()}) == 1, f"the samples of data's {name} inputs", lengths, allowed)
    return next(iter(lengths.values()))


def check_partition(partition: Any, clients: int, samples: int) -> None:
    """Raises a SpecError unless each client has samples, and those are samples of the data."""
    if not isinstance(partition, Partition):
        raise SpecError(
            f"partition.assign gave {brief(partition)}; it must give a raydl.data.Partition, such "
            "as Partition.cut(indices, sizes)"
        )
    require(
        len(partition) == clients,
        "the number of clients of the partition",
        len(partition),
        f"{clients}, as clients says",
    )
    if not (partition.sizes > 0).all():
        empty = np.flatnonzero(partition.sizes <= 0)
        raise SpecError(
            f"partition gives client {empty[0]} no samples{_others(len(empty) - 1)}; each must "
            "have one or more: take fewer clients, or another partition"
        )
    low, high = int(partition.indices.min()), int(partition.indices.max())
    wrong = low if low < 0 else high
    require(
        0 <= wrong < samples,
        "a sample of the partition",
        wrong,
        f"in [0, {samples}): the training samples of the data",
    )


def _others(count: int) -> str:
    return f", nor {count} other{'s' if count > 1 else ''}" if count else ""


def check_cohorts(participation: ParticipationSpec, clients: int, seed: int) -> Iterator[Cohort]:
    """The cohorts of a participation, int64 [cohort]; an own one's are looked at one by one.

    Raises:
        SpecError: when one is empty, has somebody twice or nobody's number, or when they end.
    """
    cohorts = participation.cohorts(clients, seed)
    if type(participation) in _OURS:
        return cohorts
    if not isinstance(cohorts, Iterable):
        raise SpecError(
            f"participation.cohorts gave {brief(cohorts)}; it must yield a cohort for each round"
        )
    return _check_each(cohorts, clients)


def check_selector(
    participation: ParticipationSpec | SelectorSpec, sizes: npt.NDArray[np.int64], seed: int
) -> Selector:
    """The selector of a participation, whose cohorts are looked at one by one, unless it is ours.

    Args:
        participation: whose it is; that of a stream takes the cohorts as they come.
        sizes: samples of each client, int64 [clients].
        seed: seed of the run.

    Raises:
        SpecError: as `check_cohorts` does, and if the participation cannot choose from the clients.
    """
    if not hasattr(participation, "selector"):
        return stream(check_cohorts(participation, len(sizes), seed))
    selector = participation.selector(sizes, seed)
    if not isinstance(selector, Selector):
        raise SpecError(
            f"participation.selector gave {brief(selector)}; it must give a raydl.data.Selector"
        )
    if isinstance(participation, SelectorSpec):
        return selector

    def choose(state: Tree, moment: Moment) -> Cohort:
        return _check_cohort(selector.choose(state, moment), moment.round + 1, len(sizes))

    return selector._replace(choose=choose)


def _check_each(cohorts: Iterable[Any], clients: int) -> Iterator[Cohort]:
    number = 0
    for number, given in enumerate(cohorts, 1):
        yield _check_cohort(given, number, clients)
    raise SpecError(
        f"participation.cohorts ended after {number} rounds, but the run goes on; it must yield a "
        "cohort for each round, as in `while True: yield ...`, or set --rounds to fewer"
    )


def _check_cohort(given: Any, number: int, clients: int) -> Cohort:
    """What was given as a round's cohort, if it is one."""
    cohort, name = np.asarray(given), f"participation's cohort of round {number}"
    sound = cohort.ndim == 1 and len(cohort) > 0 and np.issubdtype(cohort.dtype, np.integer)
    require(sound, name, given, "one or more numbers of clients, int64 [cohort]")
    within = cohort.min() >= 0 and cohort.max() < clients
    require(bool(within), name, given, f"numbers of clients in [0, {clients})")
    once = len(np.unique(cohort)) == len(cohort)
    require(once, name, given, "distinct: a client takes part once in a round")
    return cohort.astype(np.int64, copy=False)


def check_participation(
    participation: ParticipationSpec | SelectorSpec,
    sizes: npt.NDArray[np.int64],
    seed: int,
    rounds: int | None,
) -> None:
    """Looks at a participation's cohorts of the first rounds: 1,000 at most of an own stream.

    Args:
        participation: whose cohorts they are.
        sizes: samples of each client, int64 [clients].
        seed: seed of the run.
        rounds: of the run; None if that is open.

    Raises:
        SpecError: as `check_selector` does.
    """
    if hasattr(participation, "selector"):
        first_cohort(check_selector(participation, sizes, seed))
    elif type(participation) not in _OURS:
        own = check_cohorts(participation, len(sizes), seed)
        for _ in islice(own, min(rounds or 1, _LOOKED_AT)):
            pass


def check_augmentation(augmentation: Augmentation, dataset: Dataset, seed: int) -> None:
    """Raises a SpecError unless an augmentation leaves shape and type of inputs as they are."""
    inputs = tree.map(lambda each: each[:2].clone(), dataset.train.inputs)
    given = augmentation(tree.map(torch.clone, inputs), generator(seed, "augmentation"))
    if isinstance(inputs, Tensor):
        _check_augmented("inputs", inputs, given)
        return
    if not isinstance(given, dict) or given.keys() != inputs.keys():
        raise SpecError(
            f"augmentation gave {brief(given)}; it must give a dictionary with the inputs "
            f"{', '.join(inputs)}"
        )
    for name, each in inputs.items():
        _check_augmented(f"input {name}", each, given[name])


def _check_augmented(name: str, inputs: Tensor, given: Any) -> None:
    if not isinstance(given, Tensor):
        raise SpecError(f"augmentation gave {brief(given)}; it must give a tensor of the {name}")
    for what, was, now in (
        ("shape", tuple(inputs.shape), tuple(given.shape)),
        ("type", inputs.dtype, given.dtype),
    ):
        if was != now:
            raise SpecError(
                f"augmentation changed the {what} of its {name} from {was} to {now}; it must leave "
                "it as it is: inputs come as they are stored, images channels last [B, H, W, C]"
            )
