"""Who stops trials early, or changes them, made for a space of runs."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count, takewhile
from typing import Any

import torch
from ray.tune.schedulers import (
    ASHAScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from raydl import Run
from raydl.assembly.assemble import assemble
from raydl.core import tree
from raydl.core.errors import SpecError, require
from raydl.data import Dataset
from tuning.sweep.config import SweepConfig
from tuning.sweep.space import Space
from tuning.sweep.trial import SCORE

SETTINGS = "settings"  # what Tune's configuration of a trial has them under


def unit_of(space: Space) -> str:
    """The column of a run's rows that trials are compared at equal values of."""
    return "round" if all(run.epochs is None for run in space.corners) else "epochs"


def scheduler(plan: SweepConfig, space: Space) -> TrialScheduler | None:
    """The plan's scheduler; None if nothing stops or changes trials.

    Raises:
        SpecError: if no trial is so long that it could be.
    """
    if plan.scheduler == "none":
        return None
    unit = unit_of(space)
    length = max(_length(run) for run in space.corners)
    require(plan.grace < length, "grace", plan.grace, f"below {length:g}, a trial's length")
    common: dict[str, Any] = {"time_attr": unit, "metric": SCORE, "mode": "max"}
    if plan.scheduler == "pbt":
        allowed = f"below {length:g}, a trial's length"
        require(plan.interval < length, "interval", plan.interval, allowed)
        return PopulationBasedTraining(
            **common,
            perturbation_interval=plan.interval,
            burn_in_period=plan.grace,
            hyperparam_mutations={SETTINGS: space.mutations()},
            custom_explore_fn=partial(_clip, space),
            log_config=False,
            require_attrs=False,
        )
    common["grace_period"] = plan.grace
    if plan.scheduler == "median":
        return MedianStoppingRule(**common)
    common |= {"max_t": length, "reduction_factor": plan.reduction}
    return ASHAScheduler(**common)


def rungs(plan: SweepConfig, space: Space) -> tuple[float, ...] | None:
    """Where, in the unit, the scheduler looks at a trial; None if at everything that it is told."""
    if plan.scheduler == "median":
        return None
    length = max(_length(run) for run in space.corners)
    at = (plan.grace * plan.reduction**number for number in count())
    return tuple(takewhile(lambda rung: rung < length, at)) if plan.scheduler == "asha" else ()


def check_exchangeable(space: Space, dataset: Dataset | None) -> None:
    """Makes sure that any trial can go on from any other's checkpoint, for pbt.

    Raises:
        SpecError: if not: only fields of the algorithm may differ, and only such as leave its
            state as it is.
    """
    for field in space.fields:
        if not field.startswith("algorithm."):
            raise SpecError(
                f"scheduler is pbt, which changes {field} in the middle of a run; it can only "
                "change fields of the algorithm, such as algorithm.lr"
            )
    if space.run.runtime.group() is not None:
        raise SpecError(
            "scheduler is pbt, whose trials take turns on what Tune reserves, but the processes of "
            "allreduce are Ray Train's; choose the runtime sequential or actors"
        )
    first, *others = space.corners
    expected = _layout(first, dataset)
    for run in others:
        if _layout(run, dataset) != expected:
            raise SpecError(
                "scheduler is pbt, but not all the settings have a state of the same layout, so "
                f"that one cannot go on from the other's checkpoint: {first.algorithm} and "
                f"{run.algorithm}; sweep fields that leave the state as it is"
            )


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Has Python's own generator, which pbt draws from, begin at a seed."""
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _length(run: Run) -> float:
    length = run.last_round if run.epochs is None else run.epochs
    assert length is not None  # a run without epochs has a last round
    return length


def _clip(space: Space, config: dict[str, Any]) -> dict[str, Any]:
    """A configuration that pbt has changed by factors, within the ranges of the space."""
    return config | {SETTINGS: space.clip(config[SETTINGS])}


def _layout(run: Run, dataset: Dataset | None) -> list[tuple[str, torch.dtype, torch.Size]]:
    """Every tensor that a checkpoint of the run holds, or that its clients train with."""
    setup = assemble(run, dataset)
    algorithm = setup.problem.algorithm
    state = algorithm.init(setup.params)
    broadcast = algorithm.client.receive(algorithm.broadcast(state), 0)
    kept = algorithm.client.initial_state(broadcast)
    local = algorithm.client.init(broadcast, kept)
    clients = torch.empty(len(setup.problem.partition))
    whole = {"state": state, "kept": kept, "local": local, "clients": clients}
    return [(path, leaf.dtype, leaf.shape) for path, leaf in tree.leaves(whole)]
