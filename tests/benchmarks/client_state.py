"""W5: clients that keep something, of many registered ones: time a round, checkpoints, memory."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import psutil
import torch

from raydl.algorithms import SCAFFOLD, FedAvg
from raydl.core.algorithm import Scope
from raydl.models import Softmax
from raydl.run_folder import checkpoint
from raydl.run_folder.checkpoint import Checkpoint
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import connected
from raydl.runtimes.runtime import Runtime, RuntimeState
from raydl.runtimes.worker.client_states import ClientStates
from raydl.runtimes.worker.client_table import ClientTable
from raydl.storage import Folder
from tests.benchmarks.contenders import WORKERS, Raydl
from tests.benchmarks.timing import paired
from tests.benchmarks.workloads import Prepared, Workload, images, prepare

_SAMPLES, _LR = 10, 0.1  # samples of each client


def measure(registered: int, cohort: int, rounds: int) -> dict[str, Any]:
    """Runs ``rounds`` rounds of SCAFFOLD, in turn with FedAvg, batched and on 2 actors.

    Args:
        registered: clients (N), 2.5 kB of state each.
        cohort: of them in a round.
        rounds: to run, in which more and more clients keep something.

    Returns:
        ``registered``, ``cohort``; ``runtimes``, a list of ``name``, ``seconds`` of SCAFFOLD's
        rounds, ``stateless``: FedAvg's, ``ratio`` of the medians of the turns, and ``growth``: how
        many times as large that ratio is in the last fifth of the rounds as in the first; and
        ``checkpoint``: what `_checkpoint` says of all registered clients' state.
    """
    figures: dict[str, Any] = {"registered": registered, "cohort": cohort}
    figures["checkpoint"] = _checkpoint(registered)
    prepared = prepare(
        Workload(
            f"{registered} registered clients",
            lambda: images(registered * _SAMPLES, 8, 1, 10),
            Softmax,
            FedAvg(lr=_LR, batch_size=_SAMPLES, epochs=1),
            registered,
            cohort / registered,
        ),
        1 + rounds,
    )
    torch.set_num_threads(1)
    rows = [_turns("batched", prepared, lambda given: LocalRuntime(given, batched=True))]
    with connected(None, WORKERS):
        spec = Actors(WORKERS, cpus=1 / 4, batched=True)
        name = f"actors ({WORKERS}), batched"
        rows.append(_turns(name, prepared, lambda given: ActorRuntime(given, spec)))
    return figures | {"runtimes": rows}


def _turns(name: str, prepared: Prepared, opened: Any) -> dict[str, Any]:
    stateless = prepared.problem()
    sizes = torch.from_numpy(prepared.partition.sizes)
    algorithm = SCAFFOLD(lr=_LR, batch_size=_SAMPLES, epochs=1).build(Scope(sizes=sizes))
    sides = [
        _side(prepared, opened(given), given)
        for given in (replace(stateless, algorithm=algorithm), stateless)
    ]
    for side in sides:
        side.round()
    turns = [tuple(side.round() for side in sides) for _ in prepared.work[1:]]
    for side in sides:
        side.close()
    seconds, beside = (list(column) for column in zip(*turns, strict=True))
    fifth = max(1, len(turns) // 5)
    first, last = (paired(seconds[part], beside[part]) for part in _ends(fifth))
    return {
        "name": name,
        "seconds": seconds,
        "stateless": beside,
        "ratio": paired(seconds, beside),
        "growth": last / first,
    }


def _side(prepared: Prepared, runtime: Runtime, problem: Problem) -> Raydl:
    return Raydl(problem, runtime, prepared.cohorts())


def _ends(length: int) -> Iterator[slice]:
    yield slice(length)
    yield slice(-length, None)


def _checkpoint(clients: int, repeats: int = 5) -> dict[str, Any]:
    """Writes what so many clients keep and reads it again.

    Returns:
        ``bytes`` of it, median seconds to ``write``, ``read`` and ``restore`` it, ``memory``: bytes
        that the process holds beside it while it is written, at most; ``raw``: seconds to write as
        many bytes and have them on the disk.
    """
    table = ClientTable()
    for numbers in torch.arange(clients).split(1000):
        table.update(ClientStates(numbers, {"control": torch.randn(len(numbers), 650)}))
    seconds: dict[str, list[float]] = {"write": [], "read": [], "restore": [], "raw": []}
    grown = []
    with TemporaryDirectory(dir=".") as path:
        folder = Folder(path)
        for number in range(repeats):
            before = _reset_peak()
            began = perf_counter()
            saved = Checkpoint(number, {}, RuntimeState(table.states()))
            checkpoint.save(folder, saved, keep=1)
            seconds["write"].append(perf_counter() - began)
            grown.append(_peak() - before)
            del saved
            began = perf_counter()
            found = checkpoint.newest(folder)
            assert found is not None
            seconds["read"].append(perf_counter() - began)
            began = perf_counter()
            ClientTable(found.runtime.clients)
            seconds["restore"].append(perf_counter() - began)
            del found
            states = table.states()
            nbytes = states.columns["control"].nbytes
            began = perf_counter()
            (Path(path) / "raw").write_bytes(memoryview(states.columns["control"].numpy()))
            seconds["raw"].append(perf_counter() - began)
    medians = {name: median(each) for name, each in seconds.items()}
    return medians | {"bytes": nbytes, "memory": max(grown)}


def _reset_peak() -> int:
    """Resident bytes of this process, from which on Linux counts its peak anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return int(psutil.Process().memory_info().rss)


def _peak() -> int:
    """The most resident bytes since then."""
    (line,) = (
        each for each in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in each
    )
    return 1024 * int(line.split()[1])
