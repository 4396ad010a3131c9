"""A run that several processes take together, as a group of Ray Train workers.

Every process takes the same course over the all-reduce runtime; the one that leads writes it down,
posts its rounds to the driver and is asked there whether to stop. When a process is lost, Ray Train
starts the group again, and the course goes on from the newest checkpoint. An error of the course
itself would only come again: the process posts it to the driver, and the group ends.
"""

import pickle
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import ray
import torch.distributed as dist
from ray import cloudpickle
from ray.exceptions import RayError

from raydl.interrupt import Stop
from raydl.runtimes.allreduce import AllReduce
from raydl.runtimes.cluster import beside_driver
from raydl.runtimes.mailbox import Mailbox
from raydl.runtimes.problem import Problem
from raydl.runtimes.shared import attached, share

_PAUSE = 0.2  # seconds between two looks at what the leader posted
_PATIENCE = 5  # seconds for an answer of Ray, where it may have died


class Group(NamedTuple):
    """The processes.

    Attributes:
        least: of them that the run needs.
        most: of them that it makes use of.
        gpus: that each of them reserves.
        failures: how often they are started again.
    """

    least: int
    most: int
    gpus: float
    failures: int


class _AskedStop(Stop):
    """Asks the driver."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox

    @property
    def signal(self) -> int:  # type: ignore[override]
        return int(ray.get(self._mailbox.asked.remote()))


def launch(
    group: Group,
    problem: Problem,
    course: Callable[..., Any],
    options: dict[str, Any],
    rounded: Callable[[Any], None],
    stop: Stop,
) -> Any:
    """Has a group of processes take a course, and returns the outcome of the one that leads.

    Args:
        group: the processes.
        problem: what is to be learned.
        course: (problem, runtime, rounded, stop) -> outcome.
        options: of the `AllReduce` runtime.
        rounded: is told of the rounds, in this process.
        stop: of this process; passed on to the leader.

    Raises:
        ray.train.WorkerGroupError: if processes are lost more often than allowed.
        Exception: what the course raised in a process, with its traceback there as a note.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    mailbox = ray.remote(Mailbox).options(**beside_driver()).remote()
    config = {
        "shared": share(problem),
        "course": course,
        "options": options,
        "mailbox": mailbox,
    }
    with tempfile.TemporaryDirectory(prefix="raydl-", ignore_cleanup_errors=True) as scratch:
        trainer = TorchTrainer(
            _process,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=group.least if group.least == group.most else (group.least, group.most),
                use_gpu=group.gpus > 0,
                resources_per_worker={"CPU": 1} | ({"GPU": group.gpus} if group.gpus else {}),
            ),
            run_config=RunConfig(
                storage_path=scratch, failure_config=FailureConfig(max_failures=group.failures)
            ),
            torch_config=TorchConfig(backend="nccl" if group.gpus else "gloo"),
        )
        ended: list[BaseException | None] = []
        fit = threading.Thread(target=lambda: ended.append(_error_of(trainer.fit)), daemon=True)
        fit.start()
        asked, failure = False, None
        try:
            while fit.is_alive() and failure is None:
                fit.join(_PAUSE)
                if stop.signal and not asked:
                    asked = True
                    ray.get(mailbox.ask.remote(stop.signal))
                messages, failure = ray.get(mailbox.take.remote())
                for message in messages:
                    rounded(message)
        except BaseException:  # who is told of the rounds wants no more of them
            with suppress(RayError):  # it may be Ray that has died
                ray.get(mailbox.ask.remote(signal.SIGTERM), timeout=_PATIENCE)
                fit.join()
            raise
        if failure is not None:  # Ray Train takes its time to notice, and ends by itself
            raise pickle.loads(failure)
    if ended[0] is not None:
        raise ended[0]
    return pickle.loads(ray.get(mailbox.outcome.remote()))


def _error_of(action: Callable[[], Any]) -> BaseException | None:
    try:
        action()
    except BaseException as error:
        return error
    return None


def _process(config: dict[str, Any]) -> None:
    """What every process of the group does."""
    mailbox = config["mailbox"]
    if ray.get(mailbox.failed.remote()):  # Ray Train starts the group again after any error
        return
    problem = attached(*ray.get(list(config["shared"])))
    try:
        runtime = AllReduce(problem, **config["options"])
        if runtime.leads:

            def rounded(row: Any) -> None:
                mailbox.post.remote(row)

            stop: Stop = _AskedStop(mailbox)
        else:
            rounded, stop = lambda row: None, Stop()
        outcome = config["course"](problem, runtime, rounded, stop)
    except Exception as error:
        if not _of_lost_peer(error):
            ray.get(mailbox.fail.remote(portable(error)))
        raise
    if runtime.leads:
        ray.get(mailbox.end.remote(pickle.dumps(outcome)))


def _of_lost_peer(error: Exception) -> bool:
    """Whether an error is what is left of another process, or of a node."""
    return isinstance(error, dist.DistError | RayError) or "gloo/transport" in str(error)


def portable(error: Exception) -> bytes:
    """The pickle of an error, with its traceback as a note; in words where it cannot be."""
    where = "in a process of the group:\n" + "".join(traceback.format_exception(error))
    try:
        error.add_note(where)
        pickled = cloudpickle.dumps(error.with_traceback(None))
        if type(pickle.loads(pickled)) is type(error):
            return pickled
    except Exception:  # whatever an error's own class does
        pass
    said = RuntimeError(f"{type(error).__name__}: {error}")
    said.add_note(where)
    return cloudpickle.dumps(said)
