"""The C library's memory, kept from one training step to the next."""

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # of mallopt(3)
_KEPT = 1 << 30  # bytes


def keep_freed_memory() -> None:
    """Has glibc keep up to 1 GiB that was freed, instead of giving it back at once.

    Every step allocates the same activations and gradients again. Where they come from the system
    each time, a step of a small CNN causes thousands of page faults, which take up to a quarter of
    it. On systems without glibc this does nothing.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            mallopt(_TRIM_THRESHOLD, _KEPT)
            mallopt(_MMAP_MAX, 0)
