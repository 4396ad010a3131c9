"""FedAvgM, FedAdagrad, FedAdam, FedYogi: FedAvg whose server has an optimizer.

    Δₖ ← movement of client k from x, as in FedAvg
    x ← a step of the server's optimizer along  g = −Σₖ nₖ Δₖ / Σₖ nₖ  with rate ηₛ

The optimizers are `raydl.optim`'s: SGD with momentum, and Adagrad, Adam and Yogi as they stand in
`raydl.optim.adaptive`. Buffers, such as running statistics, are no parameters: x takes their mean.

S. Reddi, Z. Charles, M. Zaheer, Z. Garrett, K. Rush, J. Konečný, S. Kumar, B. McMahan, "Adaptive
Federated Optimization", ICLR 2021. FedAvgM is that of T.-M. H. Hsu, H. Qi, M. Brown, "Measuring the
Effects of Non-Identical Data Distribution for Federated Visual Classification", 2019
(arXiv:1909.06335).
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from raydl.algorithms.federated.fedavg import FedAvg
from raydl.core import tree
from raydl.core.algorithm import UNKNOWN_SCOPE, Algorithm, Reduced, Scope, ServerState
from raydl.core.grad import Metrics
from raydl.optim import UpdateRule, adagrad, adam, sgd, yogi


@dataclass(frozen=True)
class FedOpt(FedAvg, ABC):
    """FedAvg whose server has an optimizer."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.server_rule()

    @abstractmethod
    def server_rule(self) -> UpdateRule:
        """The update rule of the server."""

    def build(self, scope: Scope = UNKNOWN_SCOPE) -> Algorithm:
        """The algorithm with these hyperparameters."""
        rule = self.server_rule()
        return (
            super()
            .build(scope)
            ._replace(
                init=lambda params: {"params": params, "optimizer": rule.init(params)},
                server=_server(rule, self.server_lr),
            )
        )


@dataclass(frozen=True)
class FedAvgM(FedOpt):
    """FedAvg with momentum of the server.

    Args:
        server_momentum: momentum of the server, in [0, 1); 0 is FedAvg.
        server_nesterov: whether that momentum looks ahead.
    """

    server_momentum: float = 0.9
    server_nesterov: bool = False

    def server_rule(self) -> UpdateRule:
        """SGD with momentum."""
        return sgd(self.server_momentum, nesterov=self.server_nesterov)


@dataclass(frozen=True)
class FedAdagrad(FedOpt):
    """FedAvg whose server steps by Adagrad.

    Args:
        server_lr: learning rate of the server (ηₛ).
        beta: decay rate of the first moment, in [0, 1).
        tau: number added to the root of the second moment, which begins at its square (τ).
    """

    server_lr: float = 0.1
    beta: float = 0.0
    tau: float = 1e-3

    def server_rule(self) -> UpdateRule:
        """Adagrad."""
        return adagrad(self.beta, self.tau)


@dataclass(frozen=True)
class FedAdam(FedOpt):
    """FedAvg whose server steps by Adam.

    Args:
        server_lr: learning rate of the server (ηₛ).
        betas: decay rates of the first and the second moment, in [0, 1).
        tau: number added to the root of the second moment, which begins at its square (τ).
    """

    server_lr: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3

    def server_rule(self) -> UpdateRule:
        """Adam, without correction of the bias."""
        return adam(self.betas, self.tau)


@dataclass(frozen=True)
class FedYogi(FedAdam):
    """FedAvg whose server steps by Yogi."""

    def server_rule(self) -> UpdateRule:
        """Yogi."""
        return yogi(self.betas, self.tau)


def _server(
    rule: UpdateRule, rate: float
) -> Callable[[ServerState, Reduced], tuple[ServerState, Metrics]]:
    def server(state: ServerState, mean: Reduced) -> tuple[ServerState, Metrics]:
        before = state["params"]
        grads = tree.like(tree.scale(mean["delta"], -1.0), before)
        params, moments = rule.update(before, grads, state["optimizer"], rate)
        return {"params": params | tree.like(mean["buffers"], before), "optimizer": moments}, {}

    return server
