"""Hierarchical local SGD: workers in groups, such as nodes, that average more often inside.

Each group is local SGD of its own. After some rounds of it the groups take their average, so that
the slow network between them is used less often than the fast one within.

T. Lin, S. Stich, K. Patel, M. Jaggi, "Don't Use Large Mini-Batches, Use Local SGD", ICLR 2020,
section 5 and appendix D.
"""

from dataclasses import dataclass

import torch

from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.core import tree
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, Reduced, Scope, ServerState
from raydl.core.errors import require
from raydl.core.grad import Metrics
from raydl.core.reduce import grouped
from raydl.core.tree import Params


@dataclass(frozen=True)
class HierarchicalLocalSGD(LocalSGD):
    """Local SGD in groups of workers, which take their average less often.

    Args:
        groups: number of groups, of consecutive workers and equal size.
        every: rounds from one average of the groups to the next.
    """

    groups: int = 2
    every: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        equal = self.groups >= 1 and self.workers % self.groups == 0
        require(equal, "algorithm.groups", self.groups, f"a divisor of the {self.workers} workers")
        require(self.every >= 1, "algorithm.every", self.every, "1 or larger")

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters, for a run of such a scope.

        Raises:
            SpecError: if the local steps or the rate follow the run's length, and it is open.
        """
        own = super().build(scope)  # of each group
        names = [str(number) for number in range(self.groups)]

        def group(worker: int) -> int:
            return worker * self.groups // self.workers

        def init(params: Params) -> ServerState:
            states = {name: own.init(params) for name in names}
            return {"groups": states, "rounds": torch.zeros((), dtype=torch.int64)}

        def average(state: ServerState) -> Params:
            every = (own.params(each) for each in state["groups"].values())
            together: Params = tree.map(lambda *leaves: torch.stack(leaves).mean(0), *every)
            return together

        def server(state: ServerState, reduced: Reduced) -> tuple[ServerState, Metrics]:
            metrics: Metrics = {}
            states = dict(state["groups"])
            for name in names:
                if reduced[name]:  # unless all of the group's updates were left out
                    states[name], metrics = own.server(states[name], reduced[name])
            after = {"groups": states, "rounds": state["rounds"] + 1}
            if int(after["rounds"]) % self.every == 0:
                together = average(after)
                after["groups"] = {name: states[name] | {"params": together} for name in names}
            return after, metrics

        return Algorithm(
            init=init,
            params=average,
            plan=lambda state: own.plan(state["groups"]["0"]),
            broadcast=lambda state: {
                name: own.broadcast(each) for name, each in state["groups"].items()
            },
            client=own.client._replace(view=lambda sent, worker: sent[str(group(worker))]),
            reduce=grouped(own.reduce, group, self.groups),
            server=server,
        )
