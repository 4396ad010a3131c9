"""A run leaves the process of its caller as it was, also when it fails."""

import os
import random
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import suppress

import numpy as np
import pytest
import torch

import raydl
from raydl import Run
from raydl.algorithms import FedAvg
from raydl.caller import untouched
from raydl.data import Tensors, Uniform
from raydl.round import NonFiniteError
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.auto import Auto
from raydl.runtimes.local.spec import Batched, Sequential
from raydl.runtimes.simulated.spec import Simulated
from raydl.runtimes.worker import memory
from tests.federation import federation, train

THREADS = 2


def draws() -> list[float]:
    """The next numbers of everybody, which are not taken by it."""
    states = torch.get_rng_state(), np.random.get_state(), random.getstate()
    drawn = [float(torch.rand(())), float(np.random.random()), random.random()]
    torch.set_rng_state(states[0])
    np.random.set_state(states[1])
    random.setstate(states[2])
    return drawn


def process() -> dict[str, object]:
    return {
        "threads": torch.get_num_threads(),
        "draws": draws(),
        "environment": dict(os.environ),
        "filters": list(warnings.filters),
        "handlers": {each: signal.getsignal(each) for each in signal.valid_signals()},
        "excepthook": sys.excepthook,
        "memory": memory.keeps_freed(),
    }


def changed_by_training() -> dict[str, object]:
    """What training changes by itself; that libraries are imported is no matter of a runtime's."""
    return {
        name: each for name, each in process().items() if name in ("threads", "draws", "memory")
    }


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


def upset() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(5)
    np.random.seed(5)
    random.seed(5)
    os.environ["RAYDL_NEW"] = "1"
    os.environ["RAYDL_OLD"] = "changed"
    os.environ.pop("RAYDL_GONE")
    warnings.simplefilter("ignore")
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.excepthook = print
    memory.keep_freed_memory()


@pytest.mark.parametrize("fails", [False, True])
def test_everything_is_put_back(fails, monkeypatch):
    monkeypatch.setenv("RAYDL_OLD", "old")
    monkeypatch.setenv("RAYDL_GONE", "there")
    before = process()
    try:
        with untouched():
            upset()
            if fails:
                raise RuntimeError("as runs do")
    except RuntimeError:
        pass
    assert process() == before


def test_what_a_caller_keeps_himself_stays_kept():
    memory.keep_freed_memory()
    with untouched():
        memory.keep_freed_memory()
    kept = memory.keeps_freed()
    memory.give_back_freed()
    assert kept is (sys.platform == "linux")


def test_in_another_thread_signals_are_left_alone():
    seen = []

    def block() -> None:
        with untouched():
            seen.append(threading.current_thread())

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert seen == [thread]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "spec", [Sequential(), Batched(), Simulated()], ids=lambda s: type(s).__name__
)
def test_a_runtime_that_was_opened_leaves_the_process_as_it_was(spec, fails):
    """Also in a training loop of the user's own."""
    problem, before = federation(FedAvg(batch_size=16, epochs=1).build()), changed_by_training()
    with suppress(ZeroDivisionError), spec.open(problem) as runtime:
        train(problem, runtime, 1)
        assert torch.get_num_threads() == 1
        if fails:
            raise ZeroDivisionError
    assert changed_by_training() == before


def test_measuring_leaves_the_process_as_it_was_also_where_vmap_fails():
    def step(gradient, local, batch):
        float(next(iter(local["params"].values())).sum())  # which vmap refuses
        return client.step(gradient, local, batch)

    fedavg = FedAvg(batch_size=16, epochs=1).build()
    client, before = fedavg.client, changed_by_training()
    problem = federation(fedavg._replace(client=client._replace(step=step)))
    assert not Auto().resolve(problem, iter([np.arange(4)]), 1).runtime.batched
    assert changed_by_training() == before


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize(
    "runtime",
    [Sequential(), Batched(), Simulated(), Actors(workers=1)],
    ids=lambda r: type(r).__name__,
)
def test_a_run_leaves_the_process_as_it_was(runtime, fails, tmp_path, request):
    if isinstance(runtime, Actors):
        request.getfixturevalue("cluster")
    inputs = torch.ones(40, 3)
    if fails:
        inputs[:] = torch.nan
    spec = Run(
        FedAvg(batch_size=4, epochs=1),
        Tensors(inputs, torch.arange(40) % 2),
        participation=Uniform(1.0),
        model="Softmax",
        clients=2,
        rounds=2,
        runtime=runtime,
        storage=tmp_path,
        name="run",
    )
    before = process()
    if fails:
        with pytest.raises(NonFiniteError):
            raydl.run(spec)
    else:
        raydl.run(spec)
    assert process() == before
    assert [each.name for each in tmp_path.iterdir()] == ([] if fails else ["run"])
