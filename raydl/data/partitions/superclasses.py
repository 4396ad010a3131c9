"""Superclasses: classes that are alike, such as the 20 of CIFAR-100's 100."""

from collections.abc import Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from raydl.core.errors import SpecError, require

# The coarse label of each fine one, as the published files have them.
CIFAR100 = tuple(
    chain(
        (4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11),
        (6, 11, 5, 10, 7, 6, 13, 15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5),
        (5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4, 17, 4, 2, 0, 17, 4, 18, 17),
        (10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13, 15, 13),
        (16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13),
    )
)


def check_superclasses(superclasses: Sequence[int] | None) -> None:
    """Raises a SpecError unless given superclasses count from 0 and leave none out."""
    if superclasses is not None:
        sound = len(superclasses) > 0 and {*superclasses} == {*range(len({*superclasses}))}
        allowed = "a number for each class, from 0 on without a gap"
        require(sound, "partition.superclasses", tuple(superclasses), allowed)


def superclass_of(
    classes: npt.NDArray[np.int64], superclasses: Sequence[int] | None, partition: str
) -> npt.NDArray[np.int64]:
    """The superclass of each class that occurs, numbered from 0 on; int64 [classes].

    Args:
        classes: those that occur, ascending.
        superclasses: of each class there is, by its number; None for CIFAR-100's.
        partition: what asks for them, for errors.

    Raises:
        SpecError: if a class has none.
    """
    given = CIFAR100 if superclasses is None else superclasses
    if classes[0] < 0 or classes[-1] >= len(given) or (superclasses is None and len(classes) < 100):
        why = (
            "which are CIFAR-100's by default"
            if superclasses is None
            else f"given for {len(given)}"
        )
        raise SpecError(
            f"partition is {partition}, which needs a superclass of each class, {why}, but the "
            f"data has {len(classes)} classes up to {classes[-1]}; set partition.superclasses to "
            "one number for each class"
        )
    return np.unique(np.asarray(given)[classes], return_inverse=True)[1]
