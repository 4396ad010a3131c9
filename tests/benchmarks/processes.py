"""Processes without a framework that do their part of a bare loop when they are told to."""

from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

import torch
from torch.multiprocessing import get_context

Open: TypeAlias = Callable[..., Callable[[Any], Any]]


class Process:
    """A persistent process of one thread of torch's.

    Args:
        open_: called there once, with ``arguments``; what it returns answers the requests. Tensors
            among the arguments lie in memory that is shared with this process from then on.
        arguments: of ``open_``.
    """

    def __init__(self, open_: Open, *arguments: Any) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, open_, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def begin(self, request: Any) -> None:
        """Makes a request, which must not be None."""
        self._pipe.send(request)

    def wait(self) -> Any:
        """The answer to the request; the first one, to no request, says that it is ready."""
        return self._pipe.recv()

    def close(self) -> None:
        """Ends the process."""
        self._pipe.send(None)
        self._process.join()


def _serve(pipe: Connection, open_: Open, arguments: tuple[Any, ...]) -> None:
    torch.set_num_threads(1)
    answer = open_(*arguments)
    pipe.send(None)
    while (request := pipe.recv()) is not None:
        pipe.send(answer(request))
