"""What data in mapped files costs on this machine, beside tensors in memory.

    python -m tests.benchmarks.mapped [--only W3,gather] [--repeats 5] [--json] [--quick]

W3's rounds, where samples are tensors and where they lie in mapped files that the kernel keeps in
memory, take turns, on one process and on two actors. And minibatches are gathered out of 2 GB that
were prepared chunk by chunk: from the disk, and from the kernel's memory; with what the process
itself holds meanwhile, which must not grow with the data. The figures mean something on an
otherwise idle machine only.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from raydl.core.grad import parameters
from raydl.data import Dataset, Prepared, prepare
from raydl.data.sources.decoded import DecodedSource, Survey
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.ray_cluster.cluster import connected
from tests.benchmarks import command, timing, workloads
from tests.benchmarks.contenders import WORKERS, Contender, Raydl

BATCH = 64
SIDE = 32  # pixels


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures what is asked for, and prints it."""
    parts = {"W3": _rounds, "gather": _gather}
    command.run("tests.benchmarks.mapped", __doc__, parts, arguments)


def _rounds(repeats: int, quick: bool) -> dict[str, Any]:
    """Lets tensors and mapped files take turns; their numbers must be the same, bit by bit."""
    workload = workloads.TIMED["W3"](quick)
    prepared = workloads.prepare(workload, 1 + repeats)
    with TemporaryDirectory(prefix="raydl-") as folder, connected(None, WORKERS):
        prepare(prepared.dataset, folder)
        mapped = Prepared(folder).load()
        everyone = list(_contenders(prepared, mapped))
        rows = timing.compare(everyone, parameters(prepared.model), repeats)
    for tensors, files in zip(rows[::2], rows[1::2], strict=True):
        assert tensors["apart"] == files["apart"]
        tensors["ratio"], files["ratio"] = 1.0, timing.paired(files["seconds"], tensors["seconds"])
    return {"title": workload.title, "mapped": rows}


def _contenders(prepared: workloads.Prepared, mapped: Dataset) -> Iterator[Contender]:
    """By runtime: tensors, then mapped files."""
    opened = {
        "sequential": (1, 2, partial(LocalRuntime, threads=2)),
        "actors": (WORKERS, 1, lambda problem: ActorRuntime(problem, Actors(WORKERS, cpus=1 / 4))),
    }
    for name, (processes, threads, runtime) in opened.items():
        for kind, dataset in (("tensors", prepared.dataset), ("mapped", mapped)):
            problem: Problem = replace(prepared.problem(), dataset=dataset)
            side = Raydl(problem, runtime(problem), prepared.cohorts())
            yield Contender(f"{name}, {kind}", processes, threads, "float32", True, side)


@dataclass(frozen=True)
class Noise(DecodedSource):
    """Random images, made piece by piece, all of them to train on.

    Args:
        pieces: how many there are, of 4096 images each.
    """

    pieces: int
    validation: float = 0.0
    test: float = 0.0
    split_seed: int = 0

    def survey(self) -> Survey:
        """Classes in turn."""
        samples = self.pieces * 4096
        return Survey(
            "Noise", torch.arange(samples) % 100, 100, (samples, 0, 0), range(self.pieces)
        )

    def decode(self, piece: int) -> Iterator[Tensor]:
        """Draws the images of a piece."""
        draws = torch.Generator().manual_seed(piece)
        shape = (4096, SIDE, SIDE, 3)
        yield torch.randint(0, 256, shape, dtype=torch.uint8, generator=draws)


def _gather(repeats: int, quick: bool) -> dict[str, Any]:
    """Gathers as many minibatches as there are samples, in random order, and watches the memory."""
    source = Noise(pieces=2 if quick else 160)
    with TemporaryDirectory(prefix="raydl-", dir=os.environ.get("RAYDL_BENCHMARK_DIR")) as folder:
        held = [anonymous()]
        began = perf_counter()
        prepare(source, folder)
        wrote = perf_counter() - began
        held.append(anonymous())
        dataset = Prepared(folder).load()
        samples = dataset.train.inputs
        _forget(folder)
        cold = [_pass(samples)]
        warm = [_pass(samples) for _ in range(repeats)]
        held.append(anonymous())
        in_memory = samples[: min(len(samples), 50_000)]
        tensors = [_pass(in_memory) for _ in range(repeats)]
        size = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "bytes": size,
        "batch": BATCH,
        "written": wrote,
        "anonymous": held,
        "gathered": [
            {"name": name, "seconds": each}
            for name, each in (("the disk", cold), ("mapped files", warm), ("a tensor", tensors))
        ],
    }


def _pass(samples: Tensor) -> float:
    """Seconds for a minibatch, the mean over a pass."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    began = perf_counter()
    for chosen in order.split(BATCH):
        samples.index_select(0, chosen)
    return (perf_counter() - began) / -(-len(samples) // BATCH)


def _forget(folder: str) -> None:
    """Has the kernel forget what it keeps of the files."""
    for path in Path(folder).iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def anonymous() -> int:
    """Bytes that this process holds in memory of its own: not of files, which are the kernel's."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("Anonymous:"))
    return int(kilobytes) << 10


if __name__ == "__main__":
    main()
