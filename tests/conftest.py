import os
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
import torch
from hypothesis import Phase, settings

from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime
from tests.federation import RUNTIMES

torch.set_num_threads(1)
# Of the processes that tests start: where there are more than cores, threads that wait for each
# other spin, and everything takes many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# What is drawn is the same each time, so that a failure can be had again.
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)  # to explain can take minutes
settings.register_profile("repeatable", derandomize=True, deadline=None, phases=PHASES)
settings.load_profile("repeatable")


# Folders and modules whose tests start processes, or take seconds each.
SLOW = {
    *("benchmarks", "clusters", "tuning"),
    *("test_collectives", "test_ddp", "test_memory", "test_shared_zoo"),
    *("test_examples", "test_interrupt", "test_mapped", "test_object_storage"),
}
# Files that take minutes, and the parameter by which their tests are divided; else by function.
DIVIDED = {
    **dict.fromkeys(("test_ddp", "test_examples", "test_interrupt", "test_job", "test_nodes"), ""),
    **dict.fromkeys(("test_parameter_server", "test_selection", "test_sweep", "test_watch"), ""),
    "test_laws": "name",
    "test_recorded": "algorithm",
    "test_studies": "study",
}
ON_RAY = re.compile("actors|parameter_server|server")  # how a parameter of a test begins


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by what they ask for: ``ray``, ``data``; and ``slow`` by where they are."""
    for item in items:
        asked = set(getattr(item, "fixturenames", ()))
        words = [each for each in parameters_of(item) if isinstance(each, str)]
        if asked & {"ray_environment", "cluster", "cluster_address", "ran"} or (
            asked & {"request", "runtime"} and any(map(ON_RAY.match, words))
        ):
            item.add_marker("ray")
        if "data_root" in asked:
            item.add_marker("data")
        if SLOW & {item.path.parent.name, item.path.stem}:
            item.add_marker("slow")
        item.add_marker(pytest.mark.xdist_group(together(item)))


def together(item: pytest.Item) -> str:
    """Names the tests that one process does: a file's; where it is `DIVIDED`, some of them."""
    file, given = item.path.stem, getattr(item, "callspec", None)
    if file not in DIVIDED:
        return str(item.path)
    return f"{file} {(given and given.params.get(DIVIDED[file])) or item.originalname}"


def parameters_of(item: pytest.Item) -> list[object]:
    """The parameters of a test, if it has any."""
    return list(item.callspec.params.values()) if hasattr(item, "callspec") else []


@pytest.fixture(autouse=True)
def undrawn(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs draw no pictures, most of a small run's time, unless a test is marked ``pictures``."""
    if request.node.get_closest_marker("pictures") is None:
        for module in ("raydl.training_loop", "raydl.callbacks.loggers.tensorboard"):
            monkeypatch.setattr(f"{module}.has_plots", lambda: False)


@pytest.fixture
def heeded() -> Iterator[None]:
    """SIGINT as a terminal has it: a shell that starts a process behind it has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def data_root() -> str:
    """Real data, laid out as torchvision expects it."""
    root = os.environ.get("RAYDL_DATA_ROOT")
    if root is None:
        pytest.skip("RAYDL_DATA_ROOT does not name a folder with the real data")
    return root


@pytest.fixture(scope="session")
def ray_environment() -> Iterator[None]:
    """What the clusters of tests are started with."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "disabled")
        patch.setenv("RAY_worker_niceness", "0")
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # An actor for clouds' notices, which takes each of Ray Train's groups seconds to start.
        patch.setenv("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")  # how soon an end is noticed
        patch.delenv("RAY_ADDRESS", raising=False)
        yield


@pytest.fixture(scope="session")
def cluster(ray_environment: None) -> Iterator[None]:
    """One Ray cluster on this machine for all the tests that need one."""
    from raydl.runtimes.ray_cluster.cluster import connected

    with connected(None, cpus=4):
        yield


@pytest.fixture
def cluster_address(cluster: None, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where that cluster is, which processes that are started join."""
    import ray

    address = ray.get_runtime_context().gcs_address
    monkeypatch.setenv("RAY_ADDRESS", address)
    return address


@pytest.fixture
def memory() -> Iterator[str]:
    """A remote file system of pyarrow's that lives in this process."""
    from fsspec.implementations.memory import MemoryFileSystem

    yield "fsspec+memory:///bucket/runs"
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Iterator[Callable[[Problem], Runtime]]:
    """Opens a runtime over a problem: a test that takes this runs on every one of them."""
    spec = RUNTIMES[request.param]
    if isinstance(spec, Actors):
        request.getfixturevalue("cluster")
    with ExitStack() as stack:
        yield lambda problem: stack.enter_context(spec.open(problem))
