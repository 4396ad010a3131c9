"""The all-reduce runtime on processes that all tests share: what Ray Train starts, without it."""

import tempfile
import traceback
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import torch.distributed as dist
from ray import cloudpickle

from raydl.runtimes.allreduce.runtime import AllReduceProcess as Process
from raydl.runtimes.allreduce.spec import AllReduce
from raydl.signals import Stop
from tests.waiting import PATIENCE

_TIMEOUT = timedelta(seconds=PATIENCE)  # of a collective: where one fails, the others wait
_members: list[Connection] = []


@dataclass(frozen=True)
class Processes(AllReduce):
    """A group of so many processes, which run a training loop as they would under Ray Train."""

    def launch(self, problem, loop, on_round, stop):
        size = int(self.workers)
        while len(_members) < size:
            _members.append(_started())
        group = _members[:size]
        try:
            with tempfile.TemporaryDirectory() as folder:
                task = problem, loop, self.numeric_fields(), size, f"file://{folder}/store"
                for rank, member in enumerate(group):
                    member.send_bytes(cloudpickle.dumps((rank, *task)))
                while (told := group[0].recv())[0] == "row":
                    on_round(told[1])
                    group[0].send(stop.signal)
                outcome, *others = [told[1], *(member.recv()[1] for member in group[1:])]
        except BaseException:
            _members.clear()  # in mid-run, and of no use to anybody else
            raise
        for each in (outcome, *others):
            if isinstance(each, _Failed):
                _members.clear()
                raise RuntimeError(each)
        return outcome


class _Failed(str):
    """The traceback of a process."""

    __slots__ = ()


def _started() -> Connection:
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    context.Process(target=_serve, args=(theirs,), daemon=True).start()
    return ours


def _serve(driver: Connection) -> None:
    """Runs one loop after the other."""
    while True:
        rank, problem, loop, options, size, meeting = cloudpickle.loads(driver.recv_bytes())
        stop = Stop()

        def on_round(row: Any, rank: int = rank, stop: Stop = stop) -> None:
            if rank == 0:
                driver.send(("row", row))
                stop.signal = driver.recv()

        dist.init_process_group("gloo", meeting, rank=rank, world_size=size, timeout=_TIMEOUT)
        try:
            outcome = loop(problem, Process(problem, **options), on_round, stop)
        except BaseException:
            outcome = _Failed(traceback.format_exc())
        finally:
            dist.destroy_process_group()
        driver.send(("ended", outcome))
