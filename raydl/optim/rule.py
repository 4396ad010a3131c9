"""What every optimizer is: its state's first value and one step."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from raydl.core.tree import Params, Tree

Rate: TypeAlias = float | Tensor  # a learning rate; a tensor [] where it is computed


class Rule(NamedTuple):
    """An optimizer as two pure functions.

    Attributes:
        init: parameters -> state.
        update: (params, grads, state, lr) -> (params, state), one step. ``grads`` may name fewer
            parameters than ``params``; the others stay as they are.
        elementwise: whether it treats every entry by itself, so that a step on a part of the
            parameters is that part of the step; a trust ratio does not.
    """

    init: Callable[[Params], Tree]
    update: Callable[[Params, Params, Tree, Rate], tuple[Params, Tree]]
    elementwise: bool = True
