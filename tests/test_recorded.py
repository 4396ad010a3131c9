"""Small runs of every algorithm on every runtime, against values that were recorded.

``python -m tests.test_recorded`` records the runs of new algorithms and runtimes, and anew those of
the algorithms that it is given: do so when numbers change on purpose, and say why in the changelog.
Bits depend on the build of torch and on the processor, which are recorded as well; elsewhere the
losses are compared, up to rounding.
"""

import json
import platform
import sys
from collections.abc import Collection
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch

import raydl
from raydl.config.choices import CHOICES
from raydl.config.options import from_mapping
from tests.processes import Processes

RECORD = Path(__file__).with_name("recorded.json")
# Where an algorithm has such options.
SMALL = {"workers": 4, "batch_size": 16, "steps": 3, "fragments": 1}
RUNTIMES: dict[str, Any] = {
    "sequential": "sequential",
    "batched": "batched",
    "simulated": {"name": "simulated", "consistency": {"name": "Asynchronous", "buffer": 2}},
    "allreduce": Processes(workers=2),
    "actors": {"name": "actors", "workers": 2},
    "parameter_server": {"name": "parameter_server", "shards": 2},
}
ON_RAY = {"actors", "parameter_server"}


def outcome(algorithm: str, runtime: str, storage: str) -> dict[str, Any] | None:
    """What a run comes to; None if it is refused."""
    kind, where = CHOICES["algorithm"][algorithm], RUNTIMES[runtime]
    own = {field.name for field in fields(kind)}
    settings = {
        "algorithm": {"name": algorithm} | {key: SMALL[key] for key in SMALL.keys() & own},
        "data": {"name": "Digits", "test": 0.6},
        "partition": "Dirichlet",
        "model": {"name": "MLP", "hidden": [16]},
        "runtime": "sequential" if isinstance(where, Processes) else where,
        "rounds": 3,
        "seed": 1,
        "storage": storage,
        "name": f"{algorithm}-{runtime}",
    }
    if kind().workers is None:
        settings |= {"clients": 9, "participation.fraction": 0.5}
    try:
        run = from_mapping(settings)
        run = replace(run, runtime=where) if isinstance(where, Processes) else run
        summary = raydl.run(run).summary
    except raydl.SpecError:
        return None
    return {name: summary[name] for name in ("fingerprint", "train_loss", "test_loss")}


def build() -> str:
    """What the last bits of a run depend on."""
    processor = platform.processor()
    if (about := Path("/proc/cpuinfo")).exists():
        lines = about.read_text().splitlines()
        processor = next((each for each in lines if each.startswith("model name")), processor)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{torch.__version__} {capability} {processor.rpartition(':')[2].strip()}"


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("algorithm", CHOICES["algorithm"])
def test_a_run_comes_to_what_it_came_to(algorithm, runtime, tmp_path, request):
    runs, name = json.loads(RECORD.read_text()), f"{algorithm} {runtime}"
    assert name in runs, f"{name} is not recorded: python -m tests.test_recorded"
    if runtime in ON_RAY:
        request.getfixturevalue("cluster")
    given, expected = outcome(algorithm, runtime, str(tmp_path)), runs[name]
    if given and expected and expected.pop("build") != build():
        expected["fingerprint"] = given["fingerprint"]
        for loss in ("train_loss", "test_loss"):
            expected[loss] = pytest.approx(expected[loss], rel=1e-3)
    assert given == expected


def record(anew: Collection[str]) -> None:
    """Records what there is no record of, and all of some algorithms."""
    known, runs = json.loads(RECORD.read_text()), {}
    with TemporaryDirectory() as storage:
        for algorithm, runtime in product(CHOICES["algorithm"], RUNTIMES):
            name = f"{algorithm} {runtime}"
            if name in known and algorithm not in anew:
                runs[name] = known[name]
            elif given := outcome(algorithm, runtime, storage):
                runs[name] = given | {"build": build()}
            else:
                runs[name] = None
    RECORD.write_text(json.dumps(runs, indent=1) + "\n")


if __name__ == "__main__":
    from raydl.runtimes.ray_cluster.cluster import connected

    torch.set_num_threads(1)
    with connected(None, cpus=4):
        record(sys.argv[1:])
