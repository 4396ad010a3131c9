"""The caller's process: what a run changes in it while it lasts, and puts back at its end."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

from raydl.runtimes.worker.process import restored


@contextmanager
def untouched() -> Iterator[None]:
    """Leaves the process as it was when the block began, whether the block ends or raises.

    That is torch's threads, the random states of torch, NumPy and Python, environment variables,
    filters of warnings, handlers of signals and of uncaught exceptions, and how the C library keeps
    freed memory.
    """
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        for part in (restored, _draws, _environment, _excepthook, _handlers):
            stack.enter_context(part())
        yield


@contextmanager
def _draws() -> Iterator[None]:
    ours = torch.get_rng_state(), np.random.get_state(), random.getstate()
    cards = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
    finally:
        torch.set_rng_state(ours[0])
        np.random.set_state(ours[1])
        random.setstate(ours[2])
        if cards:
            torch.cuda.set_rng_state_all(cards)


@contextmanager
def _environment() -> Iterator[None]:
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value


@contextmanager
def _excepthook() -> Iterator[None]:
    hook = sys.excepthook
    try:
        yield
    finally:
        sys.excepthook = hook


@contextmanager
def _handlers() -> Iterator[None]:
    """Only the main thread may set any."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in signal.valid_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)
