"""How a space is searched: by which searcher, under which scheduler, on what resources."""

from dataclasses import dataclass
from importlib.util import find_spec
from typing import Literal, get_args

from raydl.core.errors import SpecError, require

Searcher = Literal["grid", "random", "optuna"]
Scheduler = Literal["none", "asha", "median", "pbt"]


@dataclass(frozen=True)
class SweepConfig:
    """How a space is searched, and how its winner is trained again.

    Args:
        name: name of the sweep's folder in the run's storage.
        searcher: chooser of the trials: grid, every combination, in random order if some may be
            stopped early; random; or optuna, which learns from the trials that have ended.
        trials: number of trials; with random and a grid, for each of its combinations; with grid
            as many as the grid has.
        scheduler: rule that stops trials early: none; asha, asynchronous successive halving (Li et
            al., 2020); median, the rule of Google Vizier (Golovin et al., 2017). Or who changes
            them: pbt, population based training (Jaderberg et al., 2017).
        grace: rounds, or in runs whose length is given in epochs epochs, before which no trial is
            stopped or changed.
        reduction: trials that come to a rung, of which asha lets one go on; the rungs are so many
            times apart.
        interval: rounds, or epochs, after which pbt compares a trial with the others: one of the
            worst quarter goes on from the checkpoint of one of the best, with settings near its.
        concurrent: trials at the same time, at most; as many as there is room for by default.
        gpus: GPUs that a trial in one process reserves; a fraction shares one.
        seeds: number of times that the winner is trained again, each with another, and scored on
            the test set; 0 for a sweep that never looks at it.
        seed: seed of the searcher's draws, and of pbt's.
        address: address of a Ray cluster; by default RAY_ADDRESS, or a cluster of its own on this
            machine.
    """

    name: str = "sweep"
    searcher: Searcher = "random"
    trials: int = 16
    scheduler: Scheduler = "none"
    grace: float = 1.0
    reduction: float = 4.0
    interval: float = 5.0
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
        sound = bool(self.name) and not set(self.name) & set("/\\:")
        require(sound, "name", self.name, "a folder's name, without / \\ or :")
        require(self.trials >= 1, "trials", self.trials, "1 or larger")
        require(self.seeds >= 0, "seeds", self.seeds, "0 or larger")
        free = self.concurrent is None or self.concurrent >= 1
        require(free, "concurrent", self.concurrent, "1 or larger, or null")
        for name in ("grace", "interval"):
            require(getattr(self, name) > 0, name, getattr(self, name), "above 0")
        require(self.reduction > 1, "reduction", self.reduction, "above 1")
        require(self.gpus >= 0, "gpus", self.gpus, "0 or larger")
        require(self.seed >= 0, "seed", self.seed, "0 or larger")
        if self.searcher == "optuna" and find_spec("optuna") is None:
            raise SpecError("searcher is optuna, which is not installed: pip install raydl[tune]")
        if self.scheduler == "pbt":
            self._check_population()

    def _check_population(self) -> None:
        if self.searcher == "optuna":
            raise SpecError(
                "scheduler is pbt, which changes the settings itself, but searcher is optuna; "
                "choose the searcher random or grid"
            )
        if self.concurrent is not None:
            raise SpecError(
                f"concurrent is {self.concurrent}, but the trials of pbt take turns on whatever "
                "there is room for; leave it out"
            )
