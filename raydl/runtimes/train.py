"""A run that several processes take together, as a group of Ray Train workers.

Every process takes the same course over the all-reduce runtime; the one that leads writes it down,
posts its rounds to the driver and is asked there whether to stop. When a process is lost, Ray Train
starts the group again, and the course goes on from the newest checkpoint.
"""

import pickle
import signal
import tempfile
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import ray

from raydl.interrupt import Stop
from raydl.runtimes.allreduce import AllReduce
from raydl.runtimes.cluster import beside_driver
from raydl.runtimes.mailbox import Mailbox
from raydl.runtimes.problem import Problem
from raydl.runtimes.shared import attached, share

_PAUSE = 0.2  # seconds between two looks at what the leader posted


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
        ray.train.WorkerGroupError: if a process fails, or is lost more often than allowed.
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
    with tempfile.TemporaryDirectory(prefix="raydl-") as scratch:
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
        asked = False
        try:
            while fit.is_alive():
                fit.join(_PAUSE)
                if stop.signal and not asked:
                    asked = True
                    ray.get(mailbox.ask.remote(stop.signal))
                for message in ray.get(mailbox.take.remote()):
                    rounded(message)
        except BaseException:  # who is told of the rounds wants no more of them
            ray.get(mailbox.ask.remote(signal.SIGTERM))
            fit.join()
            raise
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
    problem = attached(*ray.get(list(config["shared"])))
    runtime = AllReduce(problem, **config["options"])
    if runtime.leads:

        def rounded(row: Any) -> None:
            mailbox.post.remote(row)

        stop: Stop = _AskedStop(mailbox)
    else:
        rounded, stop = lambda row: None, Stop()
    outcome = config["course"](problem, runtime, rounded, stop)
    if runtime.leads:
        ray.get(mailbox.end.remote(pickle.dumps(outcome)))
