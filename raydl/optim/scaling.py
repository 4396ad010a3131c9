"""How the learning rate grows with the batch."""

import math
from typing import Literal, TypeAlias, get_args

from raydl.core.errors import require, unknown

Scaling: TypeAlias = Literal["none", "linear", "sqrt"]

_EXPONENTS: dict[Scaling, float] = {"none": 0.0, "linear": 1.0, "sqrt": 0.5}


def scale_rate(lr: float, batch: int, base_batch: int, rule: Scaling) -> float:
    """The rate for a batch, given a rate that is good for another.

    Args:
        lr: the rate for ``base_batch``.
        batch: samples of the global minibatch.
        base_batch: samples of the minibatch that ``lr`` was chosen for.
        rule: ``linear``: lr · batch / base_batch (P. Goyal et al., "Accurate, Large Minibatch SGD:
            Training ImageNet in 1 Hour", 2017); ``sqrt``: lr · √(batch / base_batch)
            (A. Krizhevsky, "One weird trick for parallelizing convolutional neural networks",
            2014), which LAMB was published with; ``none``: lr.

    Raises:
        SpecError: if the rule is unknown or a batch is smaller than 1.

    Example:
        >>> scale_rate(0.1, 8192, 256, "linear")
        3.2
    """
    if rule not in get_args(Scaling):
        raise unknown("scaling", rule, get_args(Scaling))
    require(batch >= 1, "batch", batch, "1 or larger")
    require(base_batch >= 1, "base_batch", base_batch, "1 or larger")
    return lr * math.pow(batch / base_batch, _EXPONENTS[rule])
