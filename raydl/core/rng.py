"""Random draws that depend on what is drawn for, never on who draws.

Every draw of a run comes from a seed folded from the run's seed and a path such as
``(round, client, "order")``. So the numbers do not change with the number of workers, the order in
which blocks run, or whether one had to run twice.
"""

import hashlib

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


def seed_dropout(seed: int, *path: int | str) -> None:
    """Seeds the global generators that dropout draws from, on the CPU and on the current GPU.

    The callers are the runtimes, once for each client; they wrap the block in
    ``torch.random.fork_rng`` so that the user's own draws are left alone.
    """
    _seed_dropout(fold_in(seed, *path))


def part_dropout(part: int) -> None:
    """Gives each process that draws dropout for a part of the same minibatch draws of its own.

    Args:
        part: of the minibatch; 0 keeps the draws that one process has for all of it.
    """
    if part:
        _seed_dropout(fold_in(torch.default_generator.initial_seed(), part))


def _seed_dropout(seed: int) -> None:
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would take 400 µs
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(seed)
