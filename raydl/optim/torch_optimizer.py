"""The part of a ``torch.optim.Optimizer`` that LARS and LAMB share."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import Optimizer, ParamsT

from raydl.core.errors import require
from raydl.optim.trust import require_adapted


class AdaptiveOptimizer(Optimizer, ABC):
    """A torch optimizer whose step is one call of a kernel for each group of parameters.

    Raises:
        SpecError: if a group's option is out of its range, a parameter is complex, or no parameter
            of any group would have a trust ratio.
    """

    def __init__(self, params: ParamsT, **defaults: Any) -> None:
        super().__init__(params, defaults)
        if all(group["adapt"] is None for group in self.param_groups):
            every = (each for group in self.param_groups for each in group["params"])
            require_adapted(type(self).__name__, None, every)

    @abstractmethod
    def _check(self, options: dict[str, Any]) -> None:
        """Refuses options of a group, its rate aside, that are out of their ranges."""

    @abstractmethod
    def _update(self, params: list[Tensor], grads: list[Tensor], **options: Any) -> None:
        """One step of parameters that have gradients, in place."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Adds parameters with options of their own; the defaults stand for those not given."""
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        require(bool(group["lr"] >= 0), "lr", group["lr"], "0 or larger")
        self._check({name: each for name, each in self._options(group).items() if name != "lr"})
        for each in group["params"]:
            require(not each.is_complex(), "a parameter's dtype", each.dtype, "real")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of every parameter that has a gradient.

        Args:
            closure: computes the loss and the gradients again.

        Returns:
            What the closure gives, or None.

        Raises:
            SpecError: if a gradient is sparse.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups = [(group, _with_gradients(group["params"])) for group in self.param_groups]
        for group, (params, grads) in groups:
            if params:
                self._update(params, grads, **self._options(group))
        return loss

    def _options(self, group: dict[str, Any]) -> dict[str, Any]:
        # torch adds to the defaults of a restored optimizer, and schedulers add to the groups
        return {name: group[name] for name in self.defaults if name in group}

    def _states(self, params: list[Tensor], name: str) -> list[Tensor]:
        """What is kept of each parameter under a name: zeros of its shape at first."""
        for each in params:
            if name not in self.state[each]:
                self.state[each][name] = torch.zeros_like(each)
        return [self.state[each][name] for each in params]


def _with_gradients(params: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The parameters that have a gradient, and their gradients."""
    pairs = [(each, each.grad) for each in params if each.grad is not None]
    for _, grad in pairs:
        require(grad.layout == torch.strided, "a gradient's layout", grad.layout, "dense")
    return [each for each, _ in pairs], [grad for _, grad in pairs]
