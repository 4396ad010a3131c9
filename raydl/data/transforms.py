"""torchvision's transforms as an augmentation."""

import ast
import sys
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any

import torch
from torch import Tensor

from raydl.core.errors import SpecError, brief, require, unknown
from raydl.core.rng import forked, seed_draws
from raydl.core.spec import Spec

_LARGEST = 2**62  # seed that is drawn


def is_transform(given: Any) -> bool:
    """Whether something is a transform of ``torchvision.transforms.v2``."""
    v2 = sys.modules.get("torchvision.transforms.v2")
    return v2 is not None and isinstance(given, v2.Transform)


def as_transform(name: str, given: Any) -> Any:
    """A transform, or the text of calls that make one or several.

    Raises:
        SpecError: if it is neither.
    """
    if isinstance(given, str):
        parse(name, given)
    elif not is_transform(given):
        raise SpecError(
            f"{name} is {brief(given)}; it must be a transform of torchvision.transforms.v2, or "
            "calls that make some: 'RandomCrop(32, padding=4), RandomHorizontalFlip()'"
        )
    return given


def parse(name: str, text: str) -> Any:
    """The transform that calls make, such as ``RandomCrop(32, padding=4), RandomHorizontalFlip()``.

    Nothing is called but transforms of torchvision's, with numbers, words and lists of them.

    Raises:
        SpecError: naming the field, if the text is nothing else, or a transform cannot be made.
    """
    from torchvision.transforms import v2

    try:
        made = _evaluate(ast.parse(text.strip(), mode="eval").body)
    except SpecError:
        raise
    except (SyntaxError, TypeError, ValueError) as error:
        raise SpecError(
            f"{name} is {text!r}, which makes no transform: {error}; it must be calls with plain "
            "arguments, such as 'RandomCrop(32, padding=4), RandomHorizontalFlip()'"
        ) from error
    transforms = [*made] if isinstance(made, tuple | list) else [made]
    for each in transforms:
        require(isinstance(each, v2.Transform), name, text, "calls of transforms, as 'Pad(2)'")
    return transforms[0] if len(transforms) == 1 else v2.Compose(transforms)


def _evaluate(node: ast.expr) -> Any:
    from torchvision.transforms import v2

    if isinstance(node, ast.List | ast.Tuple):
        return [_evaluate(each) for each in node.elts]
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    called = node.func.id if isinstance(node.func, ast.Name) else ast.unparse(node.func)
    known = {name for name, each in vars(v2).items() if _is_class(each, v2.Transform)}
    if called not in known:
        raise unknown("transform", called, known - {"Transform"})
    options = {each.arg: _evaluate(each.value) for each in node.keywords if each.arg}
    return getattr(v2, called)(*map(_evaluate, node.args), **options)


def _is_class(given: Any, of: type) -> bool:
    return isinstance(given, type) and issubclass(given, of)


def _told(given: Any) -> str:
    """What is told of a transform: the calls that make it, or what it says of itself."""
    return given if isinstance(given, str) else f"<{' '.join(repr(given).split())}>"


@dataclass(frozen=True)
class Transforms(Spec, field="augmentation"):
    """Transforms of torchvision (transforms.v2), of whole minibatches of images at a time.

    A transform then draws once, and changes all images of a minibatch alike: by the same crop, or
    all of them flipped or none. With ``each`` it draws for every image, as it does where a
    ``DataLoader`` loads them, which takes as many calls. Whatever it draws is seeded, so that the
    numbers do not depend on the workers. Images are as they are stored, before they are normalized.

    Args:
        calls: transforms one after another, as they are called, such as "RandomCrop(32, padding=4),
            RandomHorizontalFlip()"; from Python also a transform itself.
        each: whether every image is changed by itself.
    """

    calls: Annotated[str, as_transform] = field(metadata={"told": _told})
    each: bool = False

    def __call__(self, inputs: Tensor, generator: torch.Generator) -> Tensor:
        """Augments a batch.

        Drawn is one number, which torch's, numpy's and Python's global generators are seeded by for
        as long as the transforms take.

        Args:
            inputs: images [B, H, W, C] of any type, on any device.
            generator: where the draw comes from; it may be on another device.

        Returns:
            New images of the same type and device.
        """
        images = isinstance(inputs, Tensor) and inputs.ndim == 4
        require(images, "augmentation", "Transforms", "left out for data without images")
        seed = int(torch.randint(_LARGEST, (), generator=generator, device=generator.device))
        seen = inputs.movedim(-1, -3)
        with forked(cuda=inputs.is_cuda, host=True):
            seed_draws(seed, "transforms", host=True)
            if self.each:
                changed = torch.stack([self._transform(image) for image in seen])
            else:
                changed = self._transform(seen)
        return changed.movedim(-3, -1).contiguous()

    @cached_property
    def _transform(self) -> Any:
        return (
            parse("augmentation.calls", self.calls) if isinstance(self.calls, str) else self.calls
        )
