"""A run that several processes do together, as a group of Ray Train workers.

Every process runs the same training loop over the all-reduce runtime; the leader writes the run
down, posts its rounds to the driver and asks there whether to stop. When a process is lost, Ray
Train starts the group again, and the loop goes on from the newest checkpoint. An error of the loop
itself would only come again: the process posts it to the driver, and the group ends.
"""

import pickle
import signal
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import ray
import torch.distributed as dist
from ray import cloudpickle
from ray.exceptions import RayError

from raydl.core.environment.stages import enter
from raydl.runtimes.allreduce.driver_link import DriverLink
from raydl.runtimes.allreduce.runtime import AllReduceProcess
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import beside_driver
from raydl.runtimes.ray_cluster.problem_store import attach_problem, share_problem
from raydl.runtimes.spec import Loop
from raydl.signals import Stop

if TYPE_CHECKING:
    from raydl.runtimes.allreduce.spec import AllReduce

_PAUSE = 0.2  # seconds between two looks at what the leader posted
_PATIENCE = 5  # seconds for an answer of Ray, where it may have died


class _AskedStop(Stop):
    """Asks the driver."""

    def __init__(self, link: Any) -> None:
        self._link = link

    @property
    def signal(self) -> int:  # type: ignore[override]
        return int(ray.get(self._link.asked.remote()))


def launch(
    spec: "AllReduce",
    problem: Problem,
    loop: Loop,
    on_round: Callable[[Any], None],
    stop: Stop,
) -> Any:
    """Has a group of processes run a training loop, and returns the outcome of the leader's.

    Args:
        spec: the group, with its bounds.
        problem: problem that is to be learned.
        loop: (problem, runtime, on_round, stop) -> outcome.
        on_round: is told what the leader tells, in this process.
        stop: of this process; passed on to the leader.

    Raises:
        ray.train.WorkerGroupError: if processes are lost more often than allowed.
        Exception: what the loop raised in a process, with its traceback there as a note.
    """
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer

    link: Any = ray.remote(DriverLink).options(**beside_driver()).remote()
    config = {
        "shared": share_problem(problem),
        "loop": loop,
        "options": spec.numeric_fields(),
        "link": link,
    }
    least, most = spec.group()
    size = least if most is None or least == most else (least, most)
    with tempfile.TemporaryDirectory(prefix="raydl-", ignore_cleanup_errors=True) as scratch:
        trainer = TorchTrainer(
            _process,
            train_loop_config=config,
            scaling_config=ScalingConfig(
                num_workers=size,  # type: ignore[arg-type]  # Ray takes bounds, and does not say so
                use_gpu=spec.reserved > 0,
                resources_per_worker={"CPU": 1} | ({"GPU": spec.reserved} if spec.reserved else {}),
            ),
            run_config=RunConfig(
                storage_path=scratch, failure_config=FailureConfig(max_failures=spec.failures)
            ),
            torch_config=TorchConfig(backend="nccl" if spec.reserved else "gloo"),
        )
        ended: list[BaseException | None] = []
        fit = threading.Thread(target=lambda: ended.append(_error_of(trainer.fit)), daemon=True)
        fit.start()
        enter(f"starting {_in_words(least, most)} under Ray Train")
        asked, failure = False, None
        try:
            while fit.is_alive() and failure is None:
                fit.join(_PAUSE)
                if stop.signal and not asked:
                    asked = True
                    ray.get(link.ask.remote(stop.signal))
                messages, failure = ray.get(link.take.remote())
                for message in messages:
                    on_round(message)
        except BaseException:  # who is told of the rounds wants no more of them
            with suppress(RayError):  # it may be Ray that has died
                ray.get(link.ask.remote(signal.SIGTERM), timeout=_PATIENCE)
                fit.join()
            raise
        if failure is not None:  # Ray Train takes its time to notice, and ends by itself
            raise pickle.loads(failure)
    if ended[0] is not None:
        raise ended[0]
    return pickle.loads(ray.get(link.outcome.remote()))


def _in_words(least: int, most: int | None) -> str:
    if most is None or least == most:
        return f"{least} processes" if least > 1 else "a process"
    return f"{least} to {most} processes"


def _error_of(action: Callable[[], Any]) -> BaseException | None:
    try:
        action()
    except BaseException as error:  # noqa: BLE001  # is raised by who waits for the thread
        return error
    return None


def _process(config: dict[str, Any]) -> None:
    """Runs the loop, in every process of the group."""
    link = config["link"]
    if ray.get(link.failed.remote()):  # Ray Train starts the group again after any error
        return
    try:
        problem = attach_problem(*ray.get(list(config["shared"])))
        runtime = AllReduceProcess(problem, **config["options"])
        if runtime.is_leader:

            def on_round(row: Any) -> None:
                link.post.remote(row)

            stop: Stop = _AskedStop(link)
        else:
            on_round, stop = lambda row: None, Stop()
        outcome = config["loop"](problem, runtime, on_round, stop)
    except Exception as error:
        if not _of_lost_peer(error):
            ray.get(link.fail.remote(portable(error)))
        raise
    if runtime.is_leader:
        ray.get(link.end.remote(pickle.dumps(outcome)))


def _of_lost_peer(error: Exception) -> bool:
    """Whether an error is what is left of another process, or of a node."""
    return isinstance(error, dist.DistError | RayError) or "gloo/transport" in str(error)


def portable(error: Exception) -> bytes:
    """The pickle of an error, with its traceback as a note; in words where it cannot be."""
    where = "in a process of the group:\n" + "".join(traceback.format_exception(error))
    try:
        error.add_note(where)
        pickled = _pickle(error.with_traceback(None))
        if type(pickle.loads(pickled)) is type(error):
            return pickled
    except Exception:  # noqa: BLE001  # whatever an error's own class does
        pass
    said = RuntimeError(f"{type(error).__name__}: {error}")
    said.add_note(where)
    return _pickle(said)


def _pickle(error: Exception) -> bytes:
    pickled: bytes = cloudpickle.dumps(error)
    return pickled
