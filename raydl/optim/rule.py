"""What every optimizer is: its state's first value and one step."""

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from raydl.core.tree import Params, Tree

Rate: TypeAlias = float | Tensor  # a learning rate; a tensor [] where it is computed
OptimizerState: TypeAlias = Tree  # what an optimizer keeps from step to step, such as moments


class UpdateRule(NamedTuple):
    """An optimizer as two pure functions.

    Attributes:
        init: parameters -> state.
        update: (params, grads, state, lr) -> (params, state), one step. ``grads`` may name fewer
            parameters than ``params``, or none; the others stay as they are, and so does what is
            kept of them.
        elementwise: whether it treats every entry by itself, so that a step on a part of the
            parameters is that part of the step; a trust ratio does not.
    """

    init: Callable[[Params], OptimizerState]
    update: Callable[[Params, Params, OptimizerState, Rate], tuple[Params, OptimizerState]]
    elementwise: bool = True


def real_views(rule: UpdateRule) -> UpdateRule:
    """The rule for parameters of which complex ones are pairs of real numbers."""

    def init(params: Params) -> OptimizerState:
        return rule.init(_real(params))

    def update(
        params: Params, grads: Params, state: OptimizerState, lr: Rate
    ) -> tuple[Params, OptimizerState]:
        if not any(each.is_complex() for each in params.values()):
            return rule.update(params, grads, state, lr)
        stepped, state = rule.update(_real(params), _real(grads), state, lr)
        return {
            name: torch.view_as_complex(each) if params[name].is_complex() else each
            for name, each in stepped.items()
        }, state

    return rule._replace(init=init, update=update)


def _real(params: Params) -> Params:
    return {
        name: torch.view_as_real(each.resolve_conj()) if each.is_complex() else each
        for name, each in params.items()
    }
