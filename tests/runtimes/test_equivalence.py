"""Every runtime, one run: unequal clients that keep something, and a model with dropout."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

from raydl.core import tree
from raydl.core.algorithm import Plan
from raydl.core.tree import Tree
from raydl.data import CropFlip, Synthetic, Uniform
from raydl.data.batches import ClientData
from raydl.round import Round
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from raydl.runtimes.problem import Problem
from raydl.runtimes.runtime import Runtime, RuntimeState
from tests.federation import (
    RUNTIMES,
    by_client,
    cnn,
    digits,
    federation,
    final,
    fingerprints,
    keeping,
    mlp,
    train,
)

BATCH, EPOCHS, COHORT = 16, 2, 7


class Ran(NamedTuple):
    """Five rounds on a runtime, which is still open."""

    name: str
    problem: Problem
    runtime: Runtime
    rounds: list[Round]
    kept: dict[int, Tree]
    scores: dict[str, dict[str, float]]


@contextmanager
def ran_on(name: str) -> Iterator[Ran]:
    algorithm = keeping(Plan(BATCH, epochs=EPOCHS), lr=0.02)
    problem = federation(algorithm, mlp(digits(), dropout=0.3), block_size=3)
    with RUNTIMES[name].open(problem) as runtime:
        rounds = train(problem, runtime)
        pending = {
            split: runtime.evaluate(final(problem, rounds), split) for split in ("train", "test")
        }
        spec = problem.task.spec
        scores = {split: wait().metrics(spec) for split, wait in pending.items()}
        yield Ran(name, problem, runtime, rounds, by_client(runtime.state().clients), scores)


@pytest.fixture(scope="module", params=RUNTIMES)
def ran(request: pytest.FixtureRequest) -> Iterator[Ran]:
    if isinstance(RUNTIMES[request.param], Actors):
        request.getfixturevalue("cluster")
    with ran_on(request.param) as ran:
        yield ran


@pytest.fixture(scope="module")
def sequential() -> Iterator[Ran]:
    with ran_on("sequential") as ran:
        yield ran


@pytest.fixture(scope="module")
def batched() -> Iterator[Ran]:
    with ran_on("batched") as ran:
        yield ran


@pytest.fixture
def reference(ran: Ran, sequential: Ran, batched: Ran) -> Ran:
    """The run in one process that must come out bit for bit: dropout draws otherwise in a vmap."""
    return batched if "batched" in ran.name else sequential


def test_parameters_are_bitwise_equal(ran, reference):
    assert len(set(fingerprints(ran.rounds))) == 5
    assert fingerprints(ran.rounds) == fingerprints(reference.rounds)


def test_what_clients_keep_is_bitwise_equal(ran, reference):
    assert ran.kept.keys() == reference.kept.keys()
    for client, keep in ran.kept.items():
        assert tree.fingerprint(keep) == tree.fingerprint(reference.kept[client])


def test_clients_keep_what_is_theirs(ran):
    cohorts = Uniform(0.6).cohorts(12, seed=1)
    turns = Counter(client for _ in range(5) for client in next(cohorts).tolist())
    assert {client: int(keep["rounds"]) for client, keep in ran.kept.items()} == turns
    assert 0 < min(turns.values()) < max(turns.values()) == 5


def test_what_is_known_of_the_clients(ran, sequential):
    for one, other in zip(ran.rounds, sequential.rounds, strict=True):
        assert one.clients.keys() == other.clients.keys()
        for name in ("client", "samples", "steps", "bytes_up", "finite"):
            assert torch.equal(one.clients[name], other.clients[name]), name
            assert one.clients[name].dtype == torch.float64
        assert (one.clients["seconds"] > 0).all()
        # Under dropout, losses are only about those of another draw.
        tolerance = 0.2 if "batched" in ran.name else 0
        torch.testing.assert_close(
            one.clients["loss"], other.clients["loss"], rtol=tolerance, atol=tolerance
        )


def test_accounts(ran):
    model_bytes = 4 * (64 * 32 + 32 + 32 * 10 + 10)
    for each in ran.rounds:
        sizes = [int(ran.problem.partition.sizes[int(k)]) for k in each.clients["client"]]
        assert len(sizes) == COHORT
        assert each.messages == 2 * COHORT
        assert each.bytes_up == each.bytes_down == COHORT * model_bytes
        assert each.samples == EPOCHS * sum(sizes)
        assert each.local_steps == EPOCHS * sum(-(-size // BATCH) for size in sizes)
        assert 0 < float(each.clients["seconds"].max()) < each.simulated_seconds


def test_scores_are_equal_and_plain_torchs(ran, sequential):
    assert ran.scores == sequential.scores or "batched" in ran.name
    model = mlp(digits(), dropout=0.3).eval()
    model.load_state_dict(final(ran.problem, ran.rounds))
    prepare = ClientData(ran.problem.dataset, ran.problem.partition, 0).prepare
    for split, score in ran.scores.items():
        inputs, targets = getattr(ran.problem.dataset, split)
        with torch.no_grad():
            outputs = model(prepare(inputs))
        correct = int((outputs.argmax(1) == targets).sum())
        loss = nn.functional.cross_entropy(outputs, targets).item()
        assert score == {
            "loss": pytest.approx(loss, rel=1e-5),
            "accuracy": correct / len(targets),
        }


def test_a_run_goes_on_elsewhere_and_comes_back(ran, reference):
    history, state, kept = [], None, RuntimeState()
    for runtime, count in ((reference.runtime, 2), (ran.runtime, 2), (reference.runtime, 1)):
        runtime.restore(kept)
        history += train(ran.problem, runtime, count, start=len(history), state=state)
        state, kept = history[-1].state, runtime.state()
    assert fingerprints(history) == fingerprints(reference.rounds)
    assert tree.fingerprint(by_client(kept.clients)) == tree.fingerprint(reference.kept)


def test_of_what_a_client_kept_the_newest_counts(ran):
    """Client 0 meets client 1, then takes part without it, and meets it again."""
    ran.runtime.restore(RuntimeState())
    cohorts = [[0, 1, 2], [0, 3, 4], [0, 1, 3], [1, 2, 0]]
    train(ran.problem, ran.runtime, cohorts=map(np.array, cohorts))
    kept = by_client(ran.runtime.state().clients)
    turns = {client: int(keep["rounds"]) for client, keep in kept.items()}
    assert turns == {0: 4, 1: 3, 2: 2, 3: 2, 4: 1}


@pytest.mark.parametrize("runtime", ["actors-2"], indirect=True)
def test_images_with_augmentation_are_bitwise_equal(runtime):
    data = Synthetic(samples=400, test=4500, size=8, channels=3).load()
    algorithm = keeping(Plan(10, steps=4), lr=0.02)
    given = federation(algorithm, cnn(data), data, augmentation=CropFlip(1))
    sequential, opened = LocalRuntime(given), runtime(given)
    expected, ours = train(given, sequential), train(given, opened)
    assert fingerprints(ours) == fingerprints(expected)
    params = final(given, ours)
    scores = opened.evaluate(params, "test"), sequential.evaluate(params, "test")
    spec = given.task.spec
    assert scores[0]().metrics(spec) == scores[1]().metrics(spec)
    assert scores[0]().samples == 4500
