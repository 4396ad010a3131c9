"""Virtual time, against timelines worked out by hand and closed forms."""

from collections import Counter

import pytest
import torch

from raydl.core import tree
from raydl.runtimes.asynchrony.clock import Workload
from raydl.runtimes.asynchrony.consistency import Asynchronous, StaleSynchronous, Synchronous
from raydl.runtimes.simulated.cluster_model import ClusterModel
from raydl.runtimes.simulated.compute_time import Exponential, Lognormal, Measured
from raydl.runtimes.simulated.timeline import Timeline

TWO = Measured((2.0, 3.0))
UNIT = Workload(1, 0, 0)
VARIED = Lognormal(1.0, spread=0.6, jitter=0.3)


def timeline(workers, seed=0, **conditions):
    return Timeline(workers, seed, ClusterModel(**conditions))


def steps(clock, workers, number, start=0, load=UNIT, again=True):
    """So many steps of the server, everybody taking part."""
    cohort = range(workers)
    return [
        clock.advance(each, cohort, lambda worker: load, again=again)
        for each in range(start, number)
    ]


def arrivals(clock, workers, number, **options):
    return [each for step in steps(clock, workers, number, **options) for each in step.arrivals]


def test_two_workers_asynchronously():
    got = arrivals(timeline(2, consistency=Asynchronous(), speed=TWO), 2, 6)
    # Worker 0 arrives at 2, 4, 6, worker 1 at 3, 6, 9; at 6 worker 1 was begun first, at 3.
    assert [(each.worker, each.version, each.applied, each.arrived) for each in got] == [
        (0, 0, 0, 2.0),
        (1, 0, 1, 3.0),
        (0, 1, 2, 4.0),
        (1, 2, 3, 6.0),
        (0, 3, 4, 6.0),
        (0, 5, 5, 8.0),
    ]
    assert [each.seconds for each in got] == [2, 3, 2, 3, 2, 2]


def test_two_workers_with_a_bound():
    """At the bound 1, worker 0 may have finished one more than worker 1, but then it waits."""
    got = arrivals(timeline(2, consistency=StaleSynchronous(1), speed=Measured((1.0, 3.5))), 2, 6)
    # Worker 0 finishes at 1 and 2, is two ahead, and waits until worker 1 comes at 3.5.
    assert [(each.worker, each.version, each.arrived) for each in got] == [
        (0, 0, 1.0),
        (0, 1, 2.0),
        (1, 0, 3.5),
        (0, 3, 4.5),
        (1, 3, 7.0),
        (0, 5, 8.0),
    ]


def test_two_workers_synchronously():
    got = steps(timeline(2, consistency=Synchronous(), speed=TWO), 2, 2)
    assert [each.seconds for each in got] == [3, 3]
    assert [[(a.worker, a.arrived) for a in each.arrivals] for each in got] == [
        [(0, 2.0), (1, 3.0)],
        [(0, 5.0), (1, 6.0)],
    ]


def test_the_network_takes_its_time():
    """Broadcast 1 s + 80/40 s, three steps of 2 s, message 1 s + 160/16 s."""
    conditions = {"latency": 1.0, "down": 40.0, "up": 16.0, "speed": Measured((2.0,))}
    (step,) = steps(timeline(1, **conditions), 1, 1, load=Workload(3, 10, 20))
    assert step.seconds == (1 + 2) + 6 + (1 + 10)
    assert step.traffic == (2, 10, 20, 0, 0)


def test_late_updates_are_thrown_away_but_were_sent():
    """Of three, the second to arrive ends the step, as the third is sending."""
    conditions = {"up": 8.0, "speed": Measured((1.0, 2.0, 2.5, 9.0))}
    clock = timeline(4, consistency=Synchronous(backup=2), **conditions)
    (step,) = steps(clock, 4, 1, load=Workload(1, 7, 1))
    assert [each.worker for each in step.arrivals] == [0, 1]
    assert step.seconds == 3
    assert step.traffic == (4 + 3, 4 * 7, 3, 0, 2)  # worker 3 was computing still
    assert clock.in_use([0]) == set()


def test_a_buffer_takes_several_and_who_sent_one_goes_on_at_once():
    got = steps(timeline(2, consistency=Asynchronous(buffer=2), speed=Measured((1.0, 1.5))), 2, 2)
    assert [[(a.worker, a.version, a.arrived) for a in each.arrivals] for each in got] == [
        [(0, 0, 1.0), (1, 0, 1.5)],
        [(0, 0, 2.0), (1, 1, 3.0)],  # begun at 1 and 1.5; worker 0, who began at 2, is later
    ]


def test_where_a_worker_may_not_begin_twice_from_a_version_it_waits():
    clock = timeline(2, consistency=Asynchronous(buffer=2), speed=Measured((1.0, 1.5)))
    got = steps(clock, 2, 2, again=False)
    assert [[(a.worker, a.version, a.arrived) for a in each.arrivals] for each in got] == [
        [(0, 0, 1.0), (1, 0, 1.5)],
        [(0, 1, 2.5), (1, 1, 3.0)],
    ]


def test_equal_workers_are_synchronous():
    buffered = timeline(5, consistency=Asynchronous(buffer=5))
    synchronous = timeline(5, consistency=Synchronous())
    assert steps(buffered, 5, 20) == steps(synchronous, 5, 20)


def test_a_lost_update_takes_as_long_again():
    conditions = {"speed": Measured((1.0,)), "update_loss": 0.3}
    got = steps(
        timeline(1, consistency=Asynchronous(), **conditions), 1, 4000, load=Workload(1, 3, 5)
    )
    turns = Counter(each.seconds for each in got)
    assert all(turns[seconds] / 4000 == pytest.approx(0.7 * 0.3 ** (seconds - 1), abs=0.02)
               for seconds in (1, 2, 3))  # fmt: skip
    for each in got:
        tried = int(each.seconds)
        assert each.traffic == (2 * tried, 3 * tried, 5 * tried, tried - 1, 0)


def test_stragglers_are_as_many_and_as_slow_as_they_are_to_be():
    clock = timeline(40, consistency=Asynchronous(buffer=40), stragglers=0.25, slowdown=7.0)
    (step,) = steps(clock, 40, 1, again=False)
    assert Counter(round(each.seconds, 6) for each in step.arrivals) == {0.1: 30, 0.7: 10}
    other = Timeline(40, 1, ClusterModel(Asynchronous(buffer=40), stragglers=0.25, slowdown=7.0))
    (elsewhere,) = steps(other, 40, 1, again=False)
    slow = [{a.worker for a in each.arrivals if a.seconds > 0.5} for each in (step, elsewhere)]
    assert slow[0] != slow[1]


@pytest.mark.parametrize("backup", [0, 1, 5])
def test_backups_spare_the_slowest_of_exponential_times(backup):
    """The (n − b)-th of n exponential times is H_n − H_b in the mean."""
    workers, rounds = 20, 4000
    conditions = {"consistency": Synchronous(backup), "speed": Exponential(2.0)}
    got = steps(timeline(workers, **conditions), workers, rounds)
    mean = sum(each.seconds for each in got) / rounds
    terms = range(backup + 1, workers + 1)
    deviation = 2 * sum(1 / k**2 for k in terms) ** 0.5 / rounds**0.5
    assert abs(mean - 2 * sum(1 / k for k in terms)) < 4 * deviation


def test_asynchronous_workers_arrive_as_often_as_they_are_fast():
    """In a time T a worker of step time s arrives ⌊T / s⌋ times."""
    pace = (1.0, 1.7, 2.9, 4.3)
    clock = timeline(4, consistency=Asynchronous(), speed=Measured(pace))
    got = arrivals(clock, 4, 500)
    turns = Counter(each.worker for each in got)
    for worker, seconds in enumerate(pace):
        assert abs(turns[worker] - clock.now / seconds) <= 1


@pytest.mark.parametrize("bound", [0, 1, 4])
def test_nobody_is_further_ahead_than_the_bound(bound):
    workers = 12
    clock = timeline(workers, consistency=StaleSynchronous(bound), speed=VARIED)
    got = arrivals(clock, workers, 600)
    done, ahead = [0] * workers, []
    finished = [[] for _ in range(workers)]  # when each finished its first, second, ... step
    for each in got:
        number = done[each.worker]
        done[each.worker] += 1
        finished[each.worker].append(each.arrived)
        began = each.arrived - each.seconds
        needed = number - bound  # steps that everybody must have done when it began
        if needed > 0:
            slowest = max(others[needed - 1] for others in finished)
            assert began >= slowest - 1e-9
        ahead.append(number - min(done))
    assert max(ahead) == bound  # it is reached


def test_a_bound_out_of_reach_is_none():
    bounded, free = (
        timeline(8, consistency=consistency, speed=VARIED)
        for consistency in (StaleSynchronous(10**9), Asynchronous())
    )
    assert steps(bounded, 8, 300) == steps(free, 8, 300)


def test_a_bound_of_0_takes_as_long_as_synchronous_steps():
    stale, synchronous = (
        timeline(8, consistency=consistency, speed=VARIED)
        for consistency in (StaleSynchronous(0), Synchronous())
    )
    steps(stale, 8, 8 * 50)
    steps(synchronous, 8, 50)
    assert stale.now == pytest.approx(synchronous.now)


def test_a_deadline_ends_a_step():
    conditions = {"speed": Measured((1.0, 2.0, 5.0)), "deadline": 3.0}
    got = steps(timeline(3, **conditions), 3, 2, load=Workload(1, 1, 1))
    for each in got:
        assert [arrival.worker for arrival in each.arrivals] == [0, 1]
        assert each.seconds == 3
        assert each.traffic == (3 + 2, 3, 2, 0, 1)
    early = steps(timeline(3, **conditions | {"deadline": 0.5}), 3, 1)
    assert (early[0].arrivals, early[0].seconds) == ((), 0.5)
    late = steps(timeline(3, **conditions | {"deadline": 50}), 3, 1)
    assert late[0].seconds == 5


def test_partial_work_is_what_fits():
    """Of 3.25 s, 0.25 s are the network's; in the rest so many steps of 0.5, 1, 1.5 and 4 s fit."""
    speed = Measured((0.5, 1.0, 1.5, 4.0))
    conditions = {"speed": speed, "latency": 0.125, "deadline": 3.25, "partial": True}
    (step,) = steps(timeline(4, **conditions), 4, 1, load=Workload(4, 0, 0))
    assert [(a.worker, a.steps, a.arrived) for a in step.arrivals] == [
        (0, None, 2.25),
        (1, 3, 3.25),
        (2, 2, 3.25),
    ]


def test_clients_that_are_drawn_take_the_places_of_those_who_finished():
    clock = timeline(100, consistency=Asynchronous(buffer=2), speed=VARIED)
    draw, working, begun = torch.Generator().manual_seed(0), set(), 0
    for version in range(200):
        cohort = torch.randperm(100, generator=draw)[:10].tolist()
        step = clock.advance(version, cohort, lambda client: Workload(1, 1, 1), again=False)
        begun += step.traffic.bytes_down
        flights = clock.state()["kinds"][:, 0].tolist()
        assert len(flights) == len(set(flights)) <= 10
        new = set(flights) - working - {each.worker for each in step.arrivals}
        assert new <= set(cohort)
        working = set(flights)
        assert begun - 2 * (version + 1) == len(flights)
        assert len(step.arrivals) == 2


CASES = {
    "asynchronous": (Asynchronous(), {"update_loss": 0.2}),
    "buffer": (Asynchronous(buffer=3), {"stragglers": 0.3}),
    "stale": (StaleSynchronous(1), {"update_loss": 0.2, "latency": 0.3}),
    "backup": (Synchronous(2), {"update_loss": 0.2}),
    "deadline": (Synchronous(), {"deadline": 3.0, "partial": True}),
}


@pytest.mark.parametrize("again", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_it_goes_on_from_any_step(case, again):
    consistency, conditions = CASES[case]
    workers, conditions = 7, {"consistency": consistency, "speed": VARIED} | conditions
    options = {"load": Workload(3, 10, 20), "again": again}
    whole = timeline(workers, **conditions)
    expected = steps(whole, workers, 60, **options)
    assert expected != steps(timeline(workers, seed=1, **conditions), workers, 60, **options)
    clock = timeline(workers, **conditions)
    for at in range(60):
        saved = clock.state()
        saved = tree.from_leaves({path: leaf.clone() for path, leaf in tree.leaves(saved)})
        clock = timeline(workers, **conditions)
        clock.restore(saved)
        assert steps(clock, workers, at + 1, start=at, **options) == [expected[at]]
    assert clock.now == whole.now


def test_times_are_as_they_are_described():
    clock = timeline(3000, speed=Lognormal(2.0, spread=0.5), consistency=Asynchronous(3000))
    (step,) = steps(clock, 3000, 1, again=False)
    logs = torch.tensor([each.seconds for each in step.arrivals]).log()
    assert float(logs.exp().median()) == pytest.approx(2.0, rel=0.05)
    assert float(logs.std()) == pytest.approx(0.5, rel=0.05)
    alone = timeline(1, speed=Lognormal(2.0, jitter=0.3), consistency=Asynchronous())
    logs = torch.tensor([each.seconds for each in arrivals(alone, 1, 3000)]).log()
    assert float(logs.exp().median()) == pytest.approx(2.0, rel=0.05)
    assert float(logs.std()) == pytest.approx(0.3, rel=0.05)


def test_nothing_grows_with_the_steps():
    """There is a time, two counts for each worker, and at most one flight of eight numbers."""
    clock = timeline(4, consistency=StaleSynchronous(2), speed=VARIED, update_loss=0.1)
    for version in range(2000):
        clock.advance(version, range(4), lambda worker: UNIT, again=True)
        assert tree.nbytes(clock.state()) <= 8 * (1 + 4 * (2 + 8))


def test_a_cohort_smaller_than_the_buffer_makes_a_step_by_itself():
    clock = timeline(4, consistency=Asynchronous(buffer=3), speed=Measured((1.0, 2.0, 3.0, 4.0)))
    step = clock.advance(0, (1, 3), lambda client: UNIT, again=False)
    assert [each.worker for each in step.arrivals] == [1, 3]


@pytest.mark.parametrize(("cohort", "waited_for"), [(11, 10), (110, 100), (1, 1), (2, 2)])
def test_of_a_cohort_what_is_over_is_not_waited_for(cohort, waited_for):
    assert Synchronous(over=0.1).quorum(cohort) == waited_for


def test_nobody_begins_before_they_are_there():
    clock = timeline(2, speed=TWO, deadline=2.5)
    clock.wait(100.0)
    (step,) = steps(clock, 2, 1)
    assert [(each.worker, each.arrived, each.seconds) for each in step.arrivals] == [
        (0, 102.0, 2.0)
    ]
    assert step.seconds == 102.5
