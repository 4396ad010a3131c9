"""SlowMo: local SGD whose averages feed a slow momentum.

    u ← β u − Δ / γ;   x ← x − α γ u

with Δ the workers' mean movement and γ their learning rate. β = 0 and α = 1 are local SGD.

J. Wang, V. Tantia, N. Ballas, M. Rabbat, "SlowMo: Improving Communication-Efficient Distributed SGD
with Slow Momentum", ICLR 2020.
"""

from dataclasses import dataclass

from raydl.algorithms.distributed.local import ServerOptimizer
from raydl.algorithms.distributed.localsgd import LocalSGD
from raydl.core import tree
from raydl.core.errors import require
from raydl.core.tree import Params
from raydl.optim.rule import OptimizerState, Rate


@dataclass(frozen=True)
class SlowMo(LocalSGD):
    """Local SGD with a slow momentum over the synchronizations.

    Args:
        slow_momentum: momentum over the averages (β), in [0, 1).
        slow_lr: factor on the slow step (α).
    """

    slow_momentum: float = 0.6
    slow_lr: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        beta = self.slow_momentum
        require(0 <= beta < 1, "algorithm.slow_momentum", beta, "in [0, 1)")
        require(self.slow_lr > 0, "algorithm.slow_lr", self.slow_lr, "above 0")

    def outer(self) -> ServerOptimizer:
        """The slow step."""

        def step(
            params: Params, delta: Params, slow: OptimizerState, rate: Rate
        ) -> tuple[Params, OptimizerState]:
            beta, alpha = self.slow_momentum, self.slow_lr
            slow = tree.map(lambda d, u: beta * u - d / rate, delta, slow)
            return params | tree.map(lambda u, x: x - alpha * rate * u, slow, params), slow

        return ServerOptimizer(tree.zeros_like, step)
