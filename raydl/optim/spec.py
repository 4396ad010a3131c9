"""What an optimizer's hyperparameters are: a frozen dataclass that makes the update rule."""

from abc import ABC, abstractmethod

from raydl.core.errors import require
from raydl.core.spec import Spec
from raydl.optim.rule import UpdateRule


class OptimizerSpec(Spec, ABC, field="optimizer"):
    """An optimizer as a user names it: hyperparameters, checked where they are given.

    An own optimizer need not be a subclass: an object with ``lr`` and ``rule()`` is one.

    Attributes:
        lr: the learning rate, above 0.

    Raises:
        SpecError: if a hyperparameter is out of its range.
    """

    lr: float

    def __post_init__(self) -> None:
        require(self.lr > 0, "optimizer.lr", self.lr, "above 0")
        self.rule()

    @abstractmethod
    def rule(self) -> UpdateRule:
        """The update rule with these hyperparameters."""
