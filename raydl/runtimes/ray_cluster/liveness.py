"""A watch over Ray's own processes, without which a run hangs or ends without a word.

Two of them concern the process that drives a run: the raylet of its machine and the GCS server of
the cluster. Ray itself waits for a GCS that is gone for a minute and then ends the process; without
its raylet it does so whenever it next needs it.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import partial
from math import inf
from time import monotonic
from types import FrameType
from typing import Any

from raydl.runtimes.runtime import ClusterError

_PAUSE = 0.1  # seconds between two looks
_PATIENCE = 15  # seconds for the block to end, once it cannot go on
_REFUSED = 3  # seconds, after which a raylet on another's cluster is dead
_NAMES = {
    "raylet": "Ray's raylet, which runs the workers of this machine,",
    "gcs_server": "Ray's GCS server, which keeps track of the whole cluster,",
}

_last_words: ContextVar[Callable[[ClusterError], None] | None] = ContextVar("words", default=None)


@contextmanager
def exiting(say: Callable[[ClusterError], None]) -> Iterator[None]:
    """Has the process end at once, with exit code 1, if Ray dies in the block.

    That is for commands, since Ray may end the process before an error arrives anywhere.

    Args:
        say: tells of it; is called by another thread.
    """
    before = _last_words.set(say)
    try:
        yield
    finally:
        _last_words.reset(before)


@contextmanager
def watched(node: Any, shutdown: Callable[[], None]) -> Iterator[None]:
    """Has a block that uses Ray fail when Ray dies.

    The error is raised in the main thread. Where that does not get to it, or where the block is in
    another thread, the process says so and ends, as it would without this.

    Args:
        node: of this process, as Ray has it; None for a client's, which has none.
        shutdown: leaves Ray, when the block has ended.

    Raises:
        ClusterError: if Ray's own processes died.
    """
    watch = _Watch(node)
    watch.start()
    try:
        with _interruptible():
            yield
    except BaseException:
        if watch.error:
            raise watch.error from None
        raise
    finally:
        if not watch.error:
            watch.end()
        shutdown()
        watch.end()


class _Watch(threading.Thread):
    """Looks after Ray's processes until it is ended."""

    def __init__(self, node: Any) -> None:
        super().__init__(name="raydl-watch", daemon=True)
        self._node, self._looks, self._over = node, _looks(node), threading.Event()
        self._say = _last_words.get()
        self._noticed: ClusterError | None = None
        self._left: list[Any] = []

    @property
    def error(self) -> ClusterError | None:
        """That Ray died, if it did; what else comes of that may be heard of first."""
        if not self._noticed and (dead := [name for name, look in self._looks.items() if look()]):
            self._left = _find_processes(self._node)
            self._noticed = ClusterError(f"{_NAMES[dead[0]]} is dead: killed, or out of memory")
        return self._noticed

    def run(self) -> None:
        while not (error := self.error):
            if self._over.wait(_PAUSE):
                return
        if self._say is None:
            os.kill(os.getpid(), signal.SIGURG)
            if self._over.wait(_PATIENCE):
                return
        (self._say or _say)(error)
        _kill(self._left)
        os._exit(1)

    def end(self) -> None:
        """Looks no more, and ends what a Ray that died has left of its processes."""
        self._over.set()
        self.join()
        _kill(self._left)


class _Refusals:
    """Whether connections to an address have been refused for some time: being slow is no death.

    Args:
        address: HOST:PORT.
        seconds: for which they have been.
    """

    def __init__(self, address: str, seconds: float) -> None:
        host, _, port = address.rpartition(":")
        self._address, self._seconds = (host.strip("[]"), int(port)), seconds
        self._next, self._since = 0.0, inf

    def __call__(self) -> bool:
        now = monotonic()
        if now < self._next:
            return False
        self._next = now + 1
        try:
            socket.create_connection(self._address, timeout=1).close()
        except ConnectionRefusedError:
            self._since = min(self._since, now)
            return now - self._since >= self._seconds
        except OSError:
            pass
        self._since = inf
        return False


def _looks(node: Any) -> dict[str, Callable[[], bool]]:
    """By name, what says whether a process is dead.

    On another's cluster the GCS server may be started again elsewhere, for which Ray waits.
    """
    if node is None:
        return {}
    if node.is_head():
        started = {name: node.all_processes[name][0].process for name in _NAMES}
        return {name: partial(_has_ended, process) for name, process in started.items()}
    waits = float(os.environ.get("RAY_gcs_rpc_server_reconnect_timeout_s", "60"))  # noqa: SIM112
    return {
        "raylet": _Refusals(f"{node.node_ip_address}:{node.node_manager_port}", _REFUSED),
        "gcs_server": _Refusals(node.gcs_address, 0.8 * waits),
    }


def _has_ended(process: Any) -> bool:
    return process.poll() is not None


def _find_processes(node: Any) -> list[Any]:
    """The processes that this one's Ray started, with theirs, as far as they are still its own."""
    import psutil  # Ray's own, which it brings

    found = []
    for process in (each.process for kind in node.all_processes.values() for each in kind):
        with suppress(psutil.Error):  # it has ended
            parent = psutil.Process(process.pid)
            found += [*parent.children(recursive=True), parent]
    return found


def _kill(processes: list[Any]) -> None:
    import psutil

    for process in processes:
        with suppress(psutil.Error):
            process.kill()


def _say(error: ClusterError) -> None:
    print(f"raydl: {error}; what it was doing goes on with --resume", file=sys.stderr)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Has SIGURG, which means nothing else here, interrupt Ray's calls in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt  # the only one that ends Ray's calls

    usual = signal.signal(signal.SIGURG, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGURG, usual)
