"""Where a model's parameters start: at those of another run, and which of them stay there."""

from torch import Tensor, nn

from raydl.core.errors import SpecError
from raydl.core.fields.patterns import matching
from raydl.core.module import Complete, restore
from raydl.core.tree import Params


def freeze(model: nn.Module, patterns: str | None) -> None:
    """Freezes the parameters with names of these patterns; tied ones by any of their names.

    Raises:
        SpecError: for a pattern that no parameter has.
    """
    named = dict(model.named_parameters(remove_duplicate=False))
    for name in matching("model.frozen", patterns, named):
        named[name].requires_grad_(False)


def take_over(model: nn.Module, run: str, given: Complete, fresh: str | None) -> None:
    """Gives a model the parameters and buffers of a run, all but those of some patterns.

    Args:
        model: the model.
        run: whose they are, for the error.
        given: they.
        fresh: patterns of what keeps its first values, and may be missing or of another shape.

    Raises:
        SpecError: that lists what is missing on either side, or of another shape.
    """
    state = model.state_dict(keep_vars=True)  # themselves, so that tied ones are seen to be one
    transient = {name: each for name, each in model.named_buffers() if name not in state}
    here: Params = {k: each for k, each in (state | transient).items() if isinstance(each, Tensor)}
    there = given.state | given.transient
    left = matching("model.fresh", fresh, here.keys() | there.keys())
    kept = {id(here[name]) for name in left & here.keys()}
    left |= {name for name, each in here.items() if id(each) in kept}
    misfits = {
        name: f"  {name}: {_shape(there.get(name))} there, {_shape(here.get(name))} here"
        for name in sorted((here.keys() | there.keys()) - left)
        if _shape(there.get(name)) != _shape(here.get(name))
    }
    if misfits:
        raise SpecError(
            f"model.from_ is {run!r}, whose parameters are not those of this model:\n"
            + "\n".join(misfits.values())
            + "\nname a model of the same shapes, or have these keep the values that they are made "
            f"with: --model.fresh {','.join(misfits)!r}"
        )
    values = here | {name: there[name] for name in here.keys() - left}
    persistent = state | {name: each for name, each in values.items() if name in state}
    restore(model, Complete(persistent, {name: values[name] for name in transient}))


def _shape(tensor: Tensor | None) -> str:
    return "none" if tensor is None else str(tuple(tensor.shape))
