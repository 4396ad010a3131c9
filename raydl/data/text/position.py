"""Windows of a client divided by where they stand: what is held out shares no letter with the rest.

Neighbouring windows share all letters but one. Drawn at random, nearly every window that is held
out would stand in the training set as well, moved by one.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from raydl.data.partitions.partition import ranges


class Division(NamedTuple):
    """Windows by number, client by client, and whose they are; int64 [k] each, three times."""

    train: npt.NDArray[np.int64]
    validation: npt.NDArray[np.int64]
    test: npt.NDArray[np.int64]
    train_owners: npt.NDArray[np.int64]
    validation_owners: npt.NDArray[np.int64]
    test_owners: npt.NDArray[np.int64]


def divide(sizes: npt.NDArray[np.int64], validation: float, test: float, gap: int) -> Division:
    """Divides each client's windows: first those to train on, then validation, then the test.

    Of n windows the first ``max(1, ⌊(1 − test) n⌋)`` are not of the test, and of so many the first
    ``max(1, ⌊(1 − validation) m⌋)`` are trained on; ``gap`` windows between two parts belong to
    none. A client without a test window is left out. One whose windows do not suffice for
    validation as well trains on all that are not of the test.

    Args:
        sizes: windows of each client, int64 [clients]; those of client 0 come first.
        validation: fraction of what is not of the test.
        test: fraction; 0 keeps every client that has a window.
        gap: windows that are left out between parts, so that these share no letter.

    Returns:
        Windows by number; clients are numbered anew, in their order, without those left out.
    """
    starts = np.cumsum(sizes) - sizes
    before = _first(sizes, test)
    tests = np.maximum(sizes - before - gap, 0) if test else np.zeros_like(sizes)
    kept = (tests > 0) if test else (sizes > 0)
    sizes, starts, before, tests = (each[kept] for each in (sizes, starts, before, tests))
    train = _first(before, validation)
    validations = np.maximum(before - train - gap, 0) if validation else np.zeros_like(before)
    train = np.where(validations > 0, train, before)
    client = np.arange(len(sizes))
    lengths = (train, validations, tests)
    firsts = (starts, starts + train + gap, starts + before + gap)
    return Division(
        *(_ranges(first, length) for first, length in zip(firsts, lengths, strict=True)),
        *(np.repeat(client, length) for length in lengths),
    )


def _first(sizes: npt.NDArray[np.int64], held: float) -> npt.NDArray[np.int64]:
    """How many come before a fraction that is held out; one at least where there is one."""
    share = (1 - held) * sizes
    return np.minimum(sizes, np.maximum(1, share.astype(np.int64)))


def _ranges(starts: npt.NDArray[np.int64], lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return ranges(starts, lengths) if len(starts) else starts
