"""Random draws that depend on what is drawn for, never on who draws.

Every draw of a run comes from a seed folded from the run's seed and a path such as
``(round, client, "order")``. So the numbers do not change with the number of workers, the order in
which blocks run, or whether one had to run twice.
"""

import hashlib
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def fold_in(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the draw that ``path`` names.

    Distinct paths give independent seeds: they are the first bytes of a BLAKE2b digest.

    Example:
        >>> fold_in(0, 3, 17, "order") == fold_in(0, 3, 17, "order")
        True
        >>> fold_in(0, 3, 17, "order") == fold_in(0, 3, 18, "order")
        False
    """
    digest = hashlib.blake2b(repr((seed, *path)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def uniform(seed: int, *path: int | str) -> float:
    """A number drawn uniformly from the open interval (0, 1), of 52 bits of `fold_in`."""
    return ((fold_in(seed, *path) >> 11) + 0.5) / 2**52


def generator(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator seeded by ``fold_in(seed, *path)``."""
    return torch.Generator().manual_seed(fold_in(seed, *path))


def seed_draws(seed: int, *path: int | str, host: bool = False) -> None:
    """Seeds the global generators that models and algorithms draw from: torch's, on CPU and GPU.

    The callers are the runtimes; they wrap what draws in `forked`, so that the user's own draws are
    left alone.

    Args:
        seed: seed of the run.
        path: names what is drawn.
        host: whether Python's and numpy's global generators are seeded as well, which costs 10 µs.
    """
    _seed(fold_in(seed, *path), host=host)


def part_draws(part: int, *, host: bool = False) -> None:
    """Gives each process that draws for a part of the same minibatch draws of its own.

    Args:
        part: of the minibatch; 0 keeps the draws that one process has for all of it.
        host: as `seed_draws` has it.
    """
    if part:
        _seed(fold_in(torch.default_generator.initial_seed(), part), host=host)


@contextmanager
def forked(*, cuda: bool = False, host: bool = False) -> Iterator[None]:
    """Puts the global generators back as they were, after what draws from them.

    Args:
        cuda: whether those of the current GPU as well.
        host: whether Python's and numpy's as well.
    """
    numpy = sys.modules.get("numpy.random") if host else None
    states = random.getstate() if host else None, numpy.get_state() if numpy else None
    try:
        with torch.random.fork_rng([torch.cuda.current_device()] if cuda else []):
            yield
    finally:
        if states[0] is not None:
            random.setstate(states[0])
        if numpy is not None:
            numpy.set_state(states[1])


def _seed(seed: int, *, host: bool) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would take 400 µs
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed(seed)
    if host:
        random.seed(seed)
        if numpy := sys.modules.get(
            "numpy.random"
        ):  # who has not imported it does not draw from it
            numpy.seed(seed % 2**32)
