"""One shard, told what to do without Ray."""

import asyncio

import pytest
import torch

from raydl.core import tree
from raydl.core.algorithm import Algorithm
from raydl.core.reduce import mean
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.parameter_server.layout import Sharding
from raydl.runtimes.parameter_server.messages import Header, MessageError, ShardProgress, Snapshot
from raydl.runtimes.parameter_server.shard import Shard
from raydl.runtimes.ray_cluster.transport import fetch, from_wire, to_wire

PARAMS = {"w": torch.zeros(3)}
# The server adds up the mean pushes, so that the parameters tell what was applied.
ADDING = Algorithm(
    init=lambda params: {"params": params},
    params=lambda state: state["params"],
    plan=None,
    broadcast=lambda state: state["params"],
    client=None,
    reduce=mean(by_samples=False),
    server=lambda state, push: ({"params": {"w": state["params"]["w"] + push["w"]}}, {}),
    discount=tree.scale,
    elementwise=True,
)


async def opened(consistency, workers=3, goal=100):
    shard = Shard(0, ADDING, 0, Sharding(PARAMS, 1).shards[0], [1] * workers, consistency)
    await shard.load(Snapshot(ShardProgress(0, 0), to_wire({"params": PARAMS}), [], {}))
    await shard.open(ShardProgress(goal, 10**9), 0, list(range(workers)), fresh=True)
    return shard


def pushing(shard, worker, value, begun=0, ticket=None, **changes):
    part = to_wire({"w": torch.full((3,), value)})
    row = {"client": worker}
    header = Header(worker, ticket, begun, part.nbytes, row)._replace(**changes)
    return asyncio.ensure_future(shard.push_pull(header, part))


async def settled(*calls):
    """Which of the calls have been answered by now, and with which version and parameter."""
    for _ in range(5):
        await asyncio.sleep(0)
    answers = [call.result() if call.done() else "waits" for call in calls]
    return [
        answer
        if answer in ("waits", None)
        else (answer[0].version, float(from_wire(fetch(answer[1]))["w"][0]))
        for answer in answers
    ]


def test_synchronous_waits_for_all_and_begins_anew():
    async def scene():
        shard = await opened(Synchronous())
        early = [pushing(shard, 2, 1.0), pushing(shard, 0, 2.0)]
        assert await settled(*early) == ["waits", "waits"]
        assert await settled(pushing(shard, 1, 6.0), *early) == [(1, 3.0)] * 3

    asyncio.run(scene())


def test_backup_workers_are_not_waited_for_and_what_is_late_is_thrown_away():
    async def scene():
        shard = await opened(Synchronous(backup=1))
        two = [pushing(shard, 0, 1.0, ticket=0), pushing(shard, 1, 3.0, ticket=1)]
        assert await settled(*two) == [(1, 2.0)] * 2
        assert await settled(pushing(shard, 2, 50.0, ticket=2)) == [(1, 2.0)]
        rows = (await shard.gather()).rows
        assert [row["staleness"] for row in rows] == [0, 0, 1]

    asyncio.run(scene())


def test_asynchronous_applies_in_the_order_of_the_tickets_with_the_discount():
    async def scene():
        shard = await opened(Asynchronous(discount=1.0))
        late = pushing(shard, 1, 8.0, begun=0, ticket=1)
        assert await settled(late) == ["waits"]
        first = pushing(shard, 0, 1.0, begun=0, ticket=0)
        assert await settled(first, late) == [(1, 1.0), (2, 1.0 + 8.0 / 2)]

    asyncio.run(scene())


def test_a_buffer_gathers_before_a_step():
    async def scene():
        shard = await opened(Asynchronous(buffer=2))
        assert await settled(pushing(shard, 0, 1.0, ticket=0)) == [(0, 0.0)]
        assert await settled(pushing(shard, 0, 3.0, ticket=1)) == [(1, 2.0)]

    asyncio.run(scene())


@pytest.mark.parametrize("bound", [0, 2])
def test_nobody_may_be_further_ahead_than_the_bound(bound):
    async def scene():
        shard = await opened(StaleSynchronous(bound), workers=2)
        for ticket in range(bound):
            answers = await settled(pushing(shard, 0, 1.0, begun=ticket, ticket=ticket))
            assert answers == [(ticket + 1, ticket + 1.0)]
        ahead = pushing(shard, 0, 1.0, begun=bound, ticket=bound)
        assert await settled(ahead) == ["waits"]
        slow = pushing(shard, 1, 1.0, begun=0, ticket=bound + 1)
        assert await settled(slow, ahead) == [(bound + 2, bound + 2.0)] * 2

    asyncio.run(scene())


def test_a_worker_that_leaves_is_not_waited_for():
    async def scene():
        shard = await opened(Synchronous())
        two = [pushing(shard, 0, 1.0), pushing(shard, 1, 3.0)]
        assert await settled(*two) == ["waits", "waits"]
        await shard.leave(2, None)
        assert await settled(*two) == [(1, 2.0)] * 2

    asyncio.run(scene())


def test_the_ticket_of_a_worker_that_leaves_holds_nobody_up():
    async def scene():
        shard = await opened(Asynchronous())
        later = pushing(shard, 1, 4.0, ticket=1)
        assert await settled(later) == ["waits"]
        await shard.leave(0, Header(0, ticket=0, begun=0))
        assert await settled(later) == [(2, 4.0)]  # what was lost counts as a push of nothing
        assert await settled(pushing(shard, 0, 9.0, ticket=0)) == [None]  # and comes too late

    asyncio.run(scene())


def test_who_waits_is_sent_home_at_the_end_and_what_was_pushed_counts():
    async def scene():
        shard = await opened(Synchronous(), workers=2)
        waiting = pushing(shard, 0, 1.0)
        assert await settled(waiting) == ["waits"]
        await shard.close()
        assert await settled(waiting, pushing(shard, 1, 3.0)) == [None, None]
        await shard.open(ShardProgress(100, 100), 0, [0, 1], fresh=False)
        pull = asyncio.ensure_future(shard.push_pull(Header(0, None)))
        assert await settled(pull) == [(1, 2.0)]
        assert len((await shard.gather()).rows) == 2

    asyncio.run(scene())


def test_what_no_step_was_made_of_can_be_dropped():
    async def scene():
        shard = await opened(Synchronous(), workers=2)
        waiting = pushing(shard, 0, 1.0)
        assert await settled(waiting) == ["waits"]
        await shard.close()
        await shard.drop()
        assert (await shard.gather())[::2] == (ShardProgress(0, 0), [])
        await shard.open(ShardProgress(100, 100), 0, [0, 1], fresh=False)
        both = [pushing(shard, 0, 2.0), pushing(shard, 1, 4.0)]
        assert await settled(*both) == [(1, 3.0)] * 2

    asyncio.run(scene())


def test_a_goal_ends_the_round():
    async def scene():
        shard = await opened(Synchronous(), workers=1, goal=2)
        assert await settled(pushing(shard, 0, 1.0)) == [(1, 1.0)]
        assert await settled(pushing(shard, 0, 1.0, begun=1)) == [None]
        assert (await shard.gather()).progress == ShardProgress(2, 2)

    asyncio.run(scene())


def wrong_size(header):
    return header, to_wire({"w": torch.ones(4)})


def with_nan(header):
    return header, to_wire({"w": torch.full((3,), torch.nan)})


def other_length(header):
    return header._replace(length=7), to_wire({"w": torch.ones(3)})


def from_the_future(header):
    return header._replace(begun=5), to_wire({"w": torch.ones(3)})


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (wrong_size, "of 16 bytes is not of the size announced or due"),
        (with_nan, "holds a NaN or an infinity"),
        (other_length, "of 12 bytes is not of the size announced or due"),
        (from_the_future, "began from version 5, which there is not yet"),
    ],
)
def test_what_cannot_be_verified_is_not_applied(spoil, told):
    async def scene():
        shard = await opened(Synchronous(), workers=1)
        header, part = spoil(Header(0, None, 0, 16 if spoil is wrong_size else 12, {"client": 0}))
        with pytest.raises(MessageError, match=f"worker 0 to shard 0, .*{told}.*; it was not"):
            await shard.push_pull(header, part)
        snapshot = await shard.gather()
        assert snapshot.progress == ShardProgress(0, 0)
        assert not from_wire(snapshot.state)["params"]["w"].any()
        assert await settled(pushing(shard, 0, 2.0)) == [(1, 2.0)]  # and it goes on

    asyncio.run(scene())


def test_what_the_worker_says_is_not_finite_counts_without_a_step():
    async def scene():
        shard = await opened(Synchronous(), workers=2)
        header = Header(0, None, 0, 0, {"client": 0, "finite": 0.0})
        nothing = asyncio.ensure_future(shard.push_pull(header))
        assert await settled(pushing(shard, 1, 4.0), nothing) == [(1, 4.0)] * 2

    asyncio.run(scene())
