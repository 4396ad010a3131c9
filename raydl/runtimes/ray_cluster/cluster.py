"""The Ray cluster that a run works on: its own on this machine, or the one it is pointed to."""

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, floor
from typing import Any

import ray
import torch
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydl.core.environment.stages import enter
from raydl.core.errors import SpecError
from raydl.runtimes.ray_cluster.compat import this_node
from raydl.runtimes.ray_cluster.liveness import watched
from raydl.runtimes.spec import Demand

_GRAIN = 10_000  # parts of a resource, in which Ray counts


@contextmanager
def connected(address: str | None, cpus: int, gpus: float = 0.0) -> Iterator[None]:
    """Connects to a cluster for as long as the block lasts.

    In this order: the one that this process is connected to already; ``address``; ``RAY_ADDRESS``,
    which Ray sets for submitted jobs; a new one on this machine, which ends with the block. Another
    head that happens to run on this machine is never joined.

    Args:
        address: ``auto``, ``HOST:PORT`` or ``ray://...``; None for none.
        cpus: logical CPUs of a new cluster on this machine.
        gpus: that one worker needs.

    Raises:
        SpecError: if there is no cluster at the address; or no address, and no GPU here or too
            little processor time for Ray to start.
        ClusterError: if Ray's own processes die meanwhile, see `watched`.
    """
    if ray.is_initialized():
        yield
        return
    source = "runtime.address" if address else "RAY_ADDRESS"
    address = address or os.environ.get("RAY_ADDRESS")
    if not address:
        here = torch.cuda.device_count()
        if gpus > here:
            raise SpecError(
                f"runtime.gpus is {gpus:g}, but torch finds {here} GPUs on this machine; leave it "
                "out to train on CPUs, or name a cluster with GPUs by --runtime.address"
            )
        # Ray runs its workers at niceness 15, where any other load starves them.
        os.environ.setdefault("RAY_worker_niceness", "0")
    else:
        check_listening(address, source)
    enter(f"connecting to Ray at {address}" if address else "starting Ray")
    where = {"address": address} if address else {"address": "local", "num_cpus": cpus}
    try:
        with _own_sigterm():
            ray.init(
                **where,
                include_dashboard=None if address else False,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except ConnectionError as error:
        raise _no_cluster(address, source, error) from None
    except Exception as error:  # Ray knows no better for this
        if "timed out during startup" not in str(error):
            raise
        raise SpecError(
            "Ray did not start on this machine within the 30 s that it gives itself, which happens "
            "where other work leaves it no processor time; try again when there is less"
        ) from error
    with watched(this_node(), ray.shutdown):
        yield


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Puts SIGTERM's handler back, which ``ray.init`` replaces by one that exits at once."""
    handler = signal.getsignal(signal.SIGTERM)
    yield
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, handler)


def check_listening(address: str, source: str = "runtime.address") -> None:
    """Raises a SpecError if nothing listens at HOST:PORT, where ``ray.init`` would try for minutes.

    Args:
        address: without a port, as ``auto``, it is Ray's to find.
        source: the field or the environment variable that names it.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise _no_cluster(address, source, error) from None


def _no_cluster(address: str | None, source: str, error: Exception) -> SpecError:
    without = "unset it" if source == "RAY_ADDRESS" else "leave the address out"
    return SpecError(
        f"{source} is {address!r}, but no Ray cluster answers there ({error}); start one with "
        f"`ray start --head`, or {without} for one on this machine"
    )


def beside_driver() -> dict[str, Any]:
    """Options of an actor that reserves nothing, and is lost with the driver's node alone."""
    here = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(here, soft=False)}


def count_gpus(address: str | None) -> int:
    """How many GPUs there are: of the cluster that `connected` joins, or for a new one, here.

    Raises:
        SpecError: if there is no cluster at the address.
    """
    if not (ray.is_initialized() or address or os.environ.get("RAY_ADDRESS")):
        return torch.cuda.device_count()
    with connected(address, cpus=1):
        return int(total_resources().get("GPU", 0))


def reserved_gpus(demand: Demand) -> float:
    """GPUs that each process reserves, which ``auto`` leaves to what there is.

    Raises:
        SpecError: if there is no cluster at the address.
    """
    if not isinstance(demand.gpus, str):
        return demand.gpus
    return gpus_each(count_gpus(demand.address), demand.workers, shared=demand.shares_gpus)


def gpus_each(there: int, workers: int | None, *, shared: bool) -> float:
    """GPUs for each worker: one, or none if there are none.

    Where there are fewer GPUs than workers, each GPU is for as many of them as need be: of 5 on 2
    GPUs each has a third.

    Args:
        there: GPUs of the cluster.
        workers: number of workers; None if it follows what there is room for.
        shared: whether several of them may train on one.
    """
    if not there or not shared or workers is None or workers <= there:
        return float(there > 0)
    return floor(_GRAIN / ceil(workers / there)) / _GRAIN


def most_workers(cpus: float, gpus: float) -> int:
    """How many workers with these reservations the cluster holds, counting all that it has."""
    total = total_resources()
    fits = [total.get(name, 0) / need for name, need in _needs(cpus, gpus)]
    return max(1, int(min(fits) + 1 / _GRAIN))  # ten of 0.1 are one


def check_capacity(workers: int, cpus: float, gpus: float) -> None:
    """Raises a SpecError if the cluster can never hold so many workers."""
    missing = shortage(workers, cpus, gpus)
    if missing and not may_grow():
        raise SpecError(missing)


def shortage(workers: int, cpus: float, gpus: float) -> str | None:
    """What the cluster as it is lacks for so many workers; None if it holds them."""
    total = total_resources()
    for name, need in _needs(cpus, gpus):
        has = total.get(name, 0)
        if workers * need > has:
            return (
                f"runtime.workers is {workers}, each reserving {need:g} {name}, but the cluster "
                f"has {has:g} {name}, for {int(has // need)} workers at most; ask for fewer, or "
                f"for less with runtime.{name.lower()}s"
            )
    return None


def may_grow() -> bool:
    """Whether nodes may join the cluster: any but one that this process started for itself.

    An autoscaler adds them when they are asked for, and people do; Ray does not say which.
    """
    node = this_node()
    return node is None or not node.is_head()


def total_resources() -> dict[str, float]:
    """All that the cluster has, by name: CPU, GPU, memory and the like."""
    total: dict[str, float] = ray.cluster_resources()
    return total


def _needs(cpus: float, gpus: float) -> list[tuple[str, float]]:
    return [(name, need) for name, need in (("CPU", cpus), ("GPU", gpus)) if need]
