"""The C library's memory, kept from one training step to the next."""

import ctypes
import os
import sys
from collections.abc import Callable

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4  # of mallopt(3)
_KEPT = 1 << 30  # bytes
_MAPS = 65_536  # glibc's own, at most
_LARGEST = 32 << 20  # bytes, which glibc lets the threshold of a map grow to as maps are freed

_kept = False  # what glibc is told, it does not tell again


def keep_freed_memory() -> None:
    """Has glibc keep up to 1 GiB that was freed, instead of giving it back at once.

    Every step allocates the same activations and gradients again. Where they come from the system
    each time, a step of a small CNN causes thousands of page faults, which take up to a quarter of
    it. On systems without glibc this does nothing.
    """
    global _kept  # noqa: PLW0603  # as the C library's settings are the process's
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _KEPT)
        mallopt(_MMAP_MAX, 0)
        _kept = True


def keeps_freed() -> bool:
    """Whether this process keeps what it frees."""
    return _kept


def give_back_freed() -> None:
    """Ends what `keep_freed_memory` began, and gives back what is free now.

    The thresholds are then what the environment says, or where glibc lets them grow to by itself:
    that it adapts them ends with the first call of ``mallopt``.
    """
    global _kept  # noqa: PLW0603  # as the C library's settings are the process's
    mallopt, trim = _of_glibc("mallopt"), _of_glibc("malloc_trim")
    if mallopt is not None and trim is not None:
        mallopt(_MMAP_MAX, int(os.environ.get("MALLOC_MMAP_MAX_", _MAPS)))
        mallopt(_MMAP_THRESHOLD, int(os.environ.get("MALLOC_MMAP_THRESHOLD_", _LARGEST)))
        mallopt(_TRIM_THRESHOLD, int(os.environ.get("MALLOC_TRIM_THRESHOLD_", 2 * _LARGEST)))
        trim(0)
        _kept = False


def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
