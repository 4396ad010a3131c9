"""What a worker changes in the process that it works in, and puts back where that is a caller's."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from raydl.runtimes.worker import memory


@contextmanager
def restored() -> Iterator[None]:
    """Puts back torch's threads, and how freed memory is kept, at the end of the block."""
    threads, kept = torch.get_num_threads(), memory.keeps_freed()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        if memory.keeps_freed() and not kept:
            memory.give_back_freed()
