"""How a space is searched: by which searcher, under which scheduler, with what resources."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal, get_args

from ray import tune
from ray.tune.schedulers import ASHAScheduler, MedianStoppingRule, TrialScheduler

from raydl import Run
from raydl.core.errors import SpecError, require
from raydl.runtimes.specs import Actors, OneProcess

METRIC, MODE = "val_accuracy", "max"

Searcher = Literal["grid", "random", "optuna"]
Scheduler = Literal["none", "asha", "median"]


@dataclass(frozen=True)
class Plan:
    """How a space is searched, and how its winner is trained again.

    Args:
        name: of the sweep's folder in the run's storage.
        searcher: who chooses the trials: grid, every combination; random; or optuna, which learns
            from the trials that have ended.
        trials: how many there are; with random and a grid, for each of its combinations; with grid
            as many as the grid has.
        scheduler: who stops trials early: none; asha, asynchronous successive halving (Li et al.,
            2020); or median, the rule of Google Vizier (Golovin et al., 2017).
        grace: rounds, or in runs whose length is given in epochs epochs, before which no trial is
            stopped.
        reduction: of so many trials that come to a rung, asha lets one go on; the rungs are so many
            times apart.
        concurrent: trials at the same time, at most; as many as there is room for by default.
        gpus: that a trial in one process reserves; a fraction shares one.
        seeds: with which the winner is trained again and scored on the test set.
        seed: of the searcher's draws.
        address: of a Ray cluster; by default RAY_ADDRESS, or a cluster of its own on this machine.
    """

    name: str = "sweep"
    searcher: Searcher = "random"
    trials: int = 16
    scheduler: Scheduler = "none"
    grace: float = 1.0
    reduction: float = 4.0
    concurrent: int | None = None
    gpus: float = 0.0
    seeds: int = 3
    seed: int = 0
    address: str | None = None

    def __post_init__(self) -> None:
        for name, kinds in (("searcher", Searcher), ("scheduler", Scheduler)):
            allowed = get_args(kinds)
            given = getattr(self, name)
            require(given in allowed, name, given, " or ".join(map(repr, allowed)))
        for name in ("trials", "seeds"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "1 or larger")
        free = self.concurrent is None or self.concurrent >= 1
        require(free, "concurrent", self.concurrent, "1 or larger, or null")
        require(self.grace > 0, "grace", self.grace, "above 0")
        require(self.reduction > 1, "reduction", self.reduction, "above 1")
        require(self.gpus >= 0, "gpus", self.gpus, "0 or larger")
        require(self.seed >= 0, "seed", self.seed, "0 or larger")
        if self.searcher == "optuna" and find_spec("optuna") is None:
            raise SpecError("searcher is optuna, which is not installed: pip install raydl[tune]")

    def make_scheduler(self, run: Run) -> TrialScheduler | None:
        """What stops trials early; None if nothing does.

        Raises:
            SpecError: if no trial is so long that it could be stopped.
        """
        if self.scheduler == "none":
            return None
        length, unit = (run.last_round, "round") if run.epochs is None else (run.epochs, "epochs")
        assert length is not None  # a run without epochs has a last round
        require(self.grace < length, "grace", self.grace, f"below {length:g}, a trial's length")
        common: dict[str, Any] = {"time_attr": unit, "metric": METRIC, "mode": MODE}
        common["grace_period"] = self.grace
        if self.scheduler == "median":
            return MedianStoppingRule(**common)
        return ASHAScheduler(**common | {"max_t": length, "reduction_factor": self.reduction})

    def resources(self, run: Run) -> tune.PlacementGroupFactory:
        """What a trial reserves: what its process needs, and its actors beside it.

        Raises:
            SpecError: if its runtime does not say what it needs, or needs what a trial cannot
                give it.
        """
        runtime = run.runtime
        if isinstance(runtime, OneProcess):
            bundle = {"CPU": float(runtime.threads)}
            return tune.PlacementGroupFactory([bundle | ({"GPU": self.gpus} if self.gpus else {})])
        if isinstance(runtime, Actors) and runtime.workers is not None:
            each = {"CPU": runtime.cpus, "GPU": runtime.gpus}
            need = {name: amount for name, amount in each.items() if amount}
            return tune.PlacementGroupFactory([{}] + [need] * runtime.workers)
        raise SpecError(
            f"runtime is {type(runtime).__name__}, for which a trial cannot reserve its place; "
            "choose sequential, batched, simulated, or actors with a number of runtime.workers"
        )

    def check_room(self, run: Run, room: Mapping[str, float]) -> None:
        """Raises a SpecError if a cluster with so much room can never hold a trial."""
        for name, need in self.resources(run).required_resources.items():
            require(need <= room.get(name, 0.0), f"a trial's {name}", need, _at_most(name, room))


def _at_most(name: str, room: Mapping[str, float]) -> str:
    return f"at most what the cluster has, {room.get(name, 0.0):g}; let runtime ask for less"
