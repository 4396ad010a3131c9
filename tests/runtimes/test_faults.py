from dataclasses import replace

import pytest

from raydl.core import tree
from raydl.core.algorithm import Plan
from raydl.runtimes.actors.runtime import ActorRuntime
from raydl.runtimes.actors.spec import Actors
from raydl.runtimes.local.runtime import LocalRuntime
from tests.federation import (
    Diary,
    Killer,
    by_client,
    digits,
    federation,
    fingerprints,
    keeping,
    mlp,
    train,
)
from tests.waiting import scaled

pytestmark = pytest.mark.usefixtures("cluster")


@pytest.mark.parametrize("hangs", [False, True], ids=["dies", "hangs"])
def test_a_worker_that_fails_in_mid_round_changes_nothing(hangs, tmp_path):
    undisturbed = federation(
        keeping(Plan(16, epochs=2), lr=0.02), mlp(digits(), dropout=0.3), block_size=2
    )
    sequential = LocalRuntime(undisturbed)
    expected = train(undisturbed, sequential, 3)
    in_round_two = expected[0].local_steps + expected[1].local_steps // 2
    problem = replace(undisturbed, augmentation=Killer(tmp_path, in_round_two, hangs))
    pool = ActorRuntime(problem, Actors(workers=2, timeout=scaled(5) if hangs else None))
    try:
        assert fingerprints(train(problem, pool, 3)) == fingerprints(expected)
        assert tree.fingerprint(by_client(pool.state().clients)) == tree.fingerprint(
            by_client(sequential.state().clients)
        )
        assert pool._pool.restarts == 1
    finally:
        pool.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_blocks_are_merged_by_the_workers_as_by_one_process(workers):
    """Of 7 blocks the last one is alone in its group; the sum is another in its last bits."""
    flat = federation(
        keeping(Plan(16, epochs=2), lr=0.02), mlp(digits(), dropout=0.3), block_size=1
    )
    problem = replace(flat, fan_in=3)
    alone = LocalRuntime(problem)
    expected = train(problem, alone, 3)
    assert fingerprints(expected) != fingerprints(train(flat, LocalRuntime(flat), 3))
    pool = ActorRuntime(problem, Actors(workers))
    try:
        assert fingerprints(train(problem, pool, 3)) == fingerprints(expected)
        assert tree.fingerprint(by_client(pool.state().clients)) == tree.fingerprint(
            by_client(alone.state().clients)
        )
    finally:
        pool.close()


def test_the_longest_blocks_come_first(tmp_path, monkeypatch):
    """One worker, and one batch for each client: its diary has their sizes, in order."""
    monkeypatch.setattr("raydl.runtimes.actors.runtime._CALL_BLOCKS", 1)
    diary = tmp_path / "diary"
    problem = federation(keeping(Plan(None)), block_size=1, augmentation=Diary(diary))
    pool = ActorRuntime(problem, Actors(workers=1))
    try:
        (history,) = train(problem, pool, 1)
    finally:
        pool.close()
    sizes = [int(line) for line in diary.read_text().split()]
    assert sizes == sorted(history.clients["samples"].int().tolist(), reverse=True)
    assert len(set(sizes)) > 4
