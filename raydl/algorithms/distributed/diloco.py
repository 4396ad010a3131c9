"""DiLoCo: many local steps of AdamW, and an outer step of Nesterov momentum along their mean.

A. Douillard et al., "DiLoCo: Distributed Low-Communication Training of Language Models", 2023
(arXiv:2311.08105). An outer rate of 1 and no outer momentum are local AdamW.
"""

from dataclasses import dataclass

from raydl.algorithms.distributed.local import ServerOptimizer
from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim import AdamW, AnyOptimizer, sgd
from raydl.optim.rule import OptimizerState, Rate


@dataclass(frozen=True)
class DiLoCo(LocalSGD):
    """Many local steps of AdamW, and outer steps of Nesterov momentum.

    Args:
        optimizer: optimizer of the workers.
        steps: local steps from one synchronization to the next (H).
        outer_lr: learning rate of the outer steps.
        outer_momentum: Nesterov momentum of the outer steps, in [0, 1).
    """

    optimizer: AnyOptimizer = AdamW()
    steps: int = 500
    outer_lr: float = 0.7
    outer_momentum: float = 0.9

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.outer_lr > 0, "algorithm.outer_lr", self.outer_lr, "above 0")
        mu = self.outer_momentum
        require(0 <= mu < 1, "algorithm.outer_momentum", mu, "in [0, 1)")

    def outer(self) -> ServerOptimizer:
        """The outer step."""
        rule = sgd(self.outer_momentum, nesterov=self.outer_momentum > 0)

        def step(
            params: Params, delta: Params, state: OptimizerState, _rate: Rate
        ) -> tuple[Params, OptimizerState]:
            return rule.update(params, tree.scale(delta, -1.0), state, self.outer_lr)

        return ServerOptimizer(rule.init, step)
