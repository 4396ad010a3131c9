"""What a cluster says of itself, as JSON.

``python -m raydl.runtimes.ray_cluster.inventory '{"address": ...}'`` prints it.

A program, so that whoever asks can end it if the cluster does not answer.
"""

import json
import os
import sys
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydl.core.errors import SpecError
from raydl.runtimes.ray_cluster.cluster import (
    connected,
    may_grow,
    reserved_gpus,
    shortage,
    total_resources,
)
from raydl.runtimes.spec import Demand

_PATIENCE = 30  # seconds for a node to run a task


def versions() -> dict[str, str]:
    """The versions that a run's numbers, and its very start, depend on.

    It brings its imports along: nodes without raydl run it, too.
    """
    import platform
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("raydl", "ray", "torch", "numpy"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def report(demand: Demand) -> dict[str, Any]:
    """The nodes of a cluster, and whether it holds the workers that are asked of it.

    Returns:
        ``here``, the versions on this machine; ``nodes``, by address each node's ``versions``;
        ``resources`` of all of them; ``shortage`` for the workers, or None, and whether the
        cluster ``grows``; ``token``, whether it asks for one.
    """
    workers, gpus = demand.workers or 1, reserved_gpus(demand)
    with connected(demand.address, max(os.cpu_count() or 1, workers), gpus):
        asked = {
            f"{node['NodeManagerAddress']}:{node['NodeManagerPort']}": ray.remote(versions)
            .options(
                num_cpus=0,
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
            )
            .remote()
            for node in ray.nodes()
            if node["Alive"]
        }
        nodes = {name: {"versions": _answer(ref)} for name, ref in asked.items()}
        total = total_resources()
        return {
            "here": versions(),
            "nodes": nodes,
            "resources": {name: total.get(name, 0) for name in ("CPU", "GPU")},
            "shortage": shortage(workers, demand.cpus, gpus),
            "grows": may_grow(),
            # Ray sets it, too, when it starts a cluster by itself.
            "token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        }


def _answer(ref: ray.ObjectRef[Any]) -> dict[str, str]:
    try:
        return ray.get(ref, timeout=_PATIENCE)
    except (GetTimeoutError, RayError):
        return {}


if __name__ == "__main__":
    try:
        print(json.dumps(report(Demand(**json.loads(sys.argv[1])))))
    except SpecError as error:
        sys.exit(str(error))
