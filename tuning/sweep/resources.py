"""The room that a trial takes on a cluster.

It is reserved as a whole, so that trials neither wait for each other forever nor share what one of
them is to have for itself.
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from ray import tune

from raydl import Run
from raydl.core.errors import SpecError, require
from tuning.sweep.config import SweepConfig

Claims: TypeAlias = list[dict[str, float]]  # of each process, by resource


def claims(run: Run, gpus: float) -> Claims:
    """What a run's processes reserve; the first one is the process that drives it.

    Args:
        run: the run.
        gpus: for a run in one process.

    Raises:
        SpecError: if the runtime does not say how many processes it has, or trains on a GPU that
            the trial does not reserve.
    """
    runtime, demand = run.runtime, run.runtime.demand(run.workers)
    if demand is None:
        device = runtime.numeric_fields()["device"]
        if device.startswith("cuda") and not gpus:
            raise SpecError(
                f"runtime.device is {device!r}, but gpus is 0; set gpus to what a trial reserves: "
                "1, or a fraction such as 0.25 for four trials on one GPU"
            )
        return [_by_kind(runtime.threads, gpus)]
    if demand.workers is None:
        raise SpecError(
            f"runtime is {type(runtime).__name__}, for which a trial cannot reserve its place; "
            "choose sequential, batched or simulated, or set runtime.workers to a number"
        )
    if isinstance(demand.gpus, str):
        raise SpecError(
            "runtime.gpus is 'auto', which leaves open what a trial reserves; set it to a number"
        )
    return [{}, *[_by_kind(demand.cpus, demand.gpus)] * demand.workers]


def reserve(run: Run, gpus: float) -> tune.PlacementGroupFactory:
    """What Tune reserves for a trial: all its processes, whose actors are put in their places.

    The processes of ``allreduce`` are Ray Train's, which reserves them itself, all or none.
    """
    if run.runtime.group() is not None:
        return tune.PlacementGroupFactory([{"memory": 1}])  # Tune will have something reserved
    return tune.PlacementGroupFactory(claims(run, gpus))


def check_room(run: Run, gpus: float, room: Mapping[str, float]) -> None:
    """Raises a SpecError if a cluster with so much room can never hold a trial."""
    for name, need in _total(claims(run, gpus)).items():
        has = room.get(name, 0.0)
        allowed = f"at most what the cluster has, {has:g}; let runtime ask for less"
        require(need <= has, f"a trial's {name}", need, allowed)


def side_by_side(runs: Sequence[Run], plan: SweepConfig, room: Mapping[str, float]) -> int | None:
    """How many trials may run at the same time; None for as many as Tune can reserve."""
    trained = [run for run in runs if run.runtime.group() is not None]
    fits = [
        max(1, int(room.get(name, 0.0) // need))  # where there is no room yet, nodes are to come
        for run in trained
        for name, need in _total(claims(run, plan.gpus)).items()
    ]
    return min([*fits, *([] if plan.concurrent is None else [plan.concurrent])], default=None)


def _by_kind(cpus: float, gpus: float) -> dict[str, float]:
    return {name: float(need) for name, need in (("CPU", cpus), ("GPU", gpus)) if need}


def _total(claimed: Claims) -> dict[str, float]:
    names = {name for each in claimed for name in each}
    return {name: sum(each.get(name, 0.0) for each in claimed) for name in sorted(names)}
