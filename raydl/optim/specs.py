"""Optimizers as a user names them: hyperparameters that make the update rule."""

from dataclasses import dataclass
from typing import Annotated, Protocol, TypeAlias

from raydl.core.errors import require
from raydl.core.spec import OneOf, Spec
from raydl.optim.adamw import adamw
from raydl.optim.adaptive import adagrad, adam, yogi
from raydl.optim.lamb import lamb
from raydl.optim.lars import lars
from raydl.optim.rule import Rule
from raydl.optim.sgd import sgd


class OptimizerSpec(Protocol):
    """An optimizer's hyperparameters."""

    @property
    def lr(self) -> float:
        """The learning rate."""
        ...

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        ...


class Checked(Spec, OptimizerSpec, field="optimizer"):
    """Hyperparameters that are refused where they are given."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "optimizer.lr", self.lr, "above 0")
        self.rule()


@dataclass(frozen=True)
class SGD(Checked):
    """Stochastic gradient descent.

    Args:
        lr: the learning rate.
        momentum: in [0, 1).
        nesterov: whether the momentum looks ahead.
        weight_decay: L2 decay, added to the gradient.
    """

    lr: float = 0.05
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return sgd(self.momentum, self.nesterov, self.weight_decay)


@dataclass(frozen=True)
class AdamW(Checked):
    """Adam with decoupled weight decay.

    Args:
        lr: the learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: decoupled: w ← w − lr · weight_decay · w.
    """

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.01

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return adamw(self.betas, self.eps, self.weight_decay)


@dataclass(frozen=True)
class LARS(Checked):
    """SGD whose rate is adapted layer by layer, for large batches.

    Args:
        lr: the learning rate.
        momentum: in [0, 1).
        nesterov: whether the momentum looks ahead.
        weight_decay: L2 decay, of tensors with two or more dimensions.
        trust: the trust coefficient η of the layers' rates.
        clip: whether a layer's rate is held below the learning rate (LARC).
    """

    lr: float = 1.0
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    trust: float = 1e-3
    clip: bool = False

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return lars(self.momentum, self.nesterov, self.weight_decay, self.trust, clip=self.clip)


@dataclass(frozen=True)
class LAMB(Checked):
    """AdamW whose step is adapted layer by layer, for large batches.

    Args:
        lr: the learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: of tensors with two or more dimensions, decoupled.
        clip: whether a layer's trust ratio is held at 1 or below.
    """

    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-6
    weight_decay: float = 0.01
    clip: bool = False

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return lamb(self.betas, self.eps, self.weight_decay, clip=self.clip)


@dataclass(frozen=True)
class Adagrad(Checked):
    """Adagrad for servers, of "Adaptive Federated Optimization".

    Args:
        lr: the learning rate.
        beta: decay rate of the first moment, in [0, 1).
        tau: added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    beta: float = 0.0
    tau: float = 1e-3

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return adagrad(self.beta, self.tau)


@dataclass(frozen=True)
class Adam(Checked):
    """Adam for servers, without correction of the bias, of "Adaptive Federated Optimization".

    Args:
        lr: the learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        tau: added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return adam(self.betas, self.tau)


@dataclass(frozen=True)
class Yogi(Checked):
    """Yogi for servers, of "Adaptive Federated Optimization".

    Args:
        lr: the learning rate.
        betas: decay rates of the first and the second moment, in [0, 1).
        tau: added to the root of the second moment, which begins at its square.
    """

    lr: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.99)
    tau: float = 1e-3

    def rule(self) -> Rule:
        """The update rule with these hyperparameters."""
        return yogi(self.betas, self.tau)


AnyOptimizer: TypeAlias = Annotated[
    OptimizerSpec, OneOf("rule", SGD, AdamW, LARS, LAMB, Adagrad, Adam, Yogi)
]
