import os
import signal
import time
from pathlib import Path

import pytest
import ray

from raydl.runtimes.ray_cluster.task_pool import TaskPool
from raydl.runtimes.ray_cluster.worker_group import WorkerLostError
from tests.waiting import scaled, until

pytestmark = pytest.mark.usefixtures("cluster")


def started(workers: int, cpus: float = 0.5, timeout: float | None = None) -> TaskPool:
    class Member:
        """Pickled by value: it starts in no time, for it imports nothing."""

        def ready(self):
            pass

        def pid(self):
            return os.getpid()

        def echo(self, value, seconds=0.0):
            time.sleep(seconds)
            return value

        def parts(self, value):
            return value, [value] * 1000

        def fail(self):
            raise ZeroDivisionError("a mistake in the task")

        def die(self):
            os.kill(os.getpid(), signal.SIGKILL)

        def once(self, path, method, *arguments):
            if not Path(path).exists():
                Path(path).touch()
                getattr(self, method)(*arguments)
            return "second life"

    return TaskPool(lambda _: ray.remote(num_cpus=cpus)(Member).remote(), workers, timeout)


@pytest.fixture
def pool():
    pool = started(1)
    yield pool
    pool.close()


def call(method, *arguments, **options):
    return lambda actor: [getattr(actor, method).remote(*arguments, **options)]


def test_the_most_urgent_first_and_equals_in_order(pool):
    order = []

    def note(name):
        def submitted(actor):
            order.append(name)
            return [actor.echo.remote(name)]

        return submitted

    given = [(0, "holds the actor"), (1, "a"), (-5, "b"), (1, "c"), (-7, "d"), (-5, "e")]
    busy = pool.submit([(0, call("echo", 0, seconds=0.2))])
    tasks = pool.submit((priority, note(name)) for priority, name in given)
    assert [pool.wait(task).value for task in tasks] == [name for _, name in given]
    assert order == ["d", "b", "e", "holds the actor", "a", "c"]
    assert busy[0].done


def test_further_references_stay_where_they_are(pool):
    (task,) = pool.submit([(0, lambda actor: actor.parts.options(num_returns=2).remote("x"))])
    assert pool.wait(task).value == "x"
    assert ray.get(task.refs[1]) == ["x"] * 1000


def test_a_killed_worker_is_replaced_and_its_task_runs_again(pool, tmp_path):
    (before,) = pool.submit([(0, call("pid"))])
    dying, *others = pool.submit(
        [(0, call("once", str(tmp_path / "died"), "die"))]
        + [(0, call("echo", n)) for n in range(5)]
    )
    assert pool.wait(dying).value == "second life"
    assert [pool.wait(task).value for task in others] == list(range(5))
    assert pool.restarts == 1
    (after,) = pool.submit([(0, call("pid"))])
    assert pool.wait(after).value != before.value


def test_a_worker_killed_while_idle_is_replaced(pool):
    (task,) = pool.submit([(0, call("pid"))])
    os.kill(pool.wait(task).value, signal.SIGKILL)
    (task,) = pool.submit([(0, call("echo", 3))])
    assert pool.wait(task).value == 3
    assert pool.restarts == 1


def test_a_task_that_kills_every_worker_is_given_up(pool):
    (task,) = pool.submit([(0, call("die"))])
    with pytest.raises(WorkerLostError, match="lost 3 times, each time with its worker"):
        pool.wait(task)
    assert task.attempts == 3
    assert pool.restarts == 2


def test_a_worker_that_hangs_is_given_up_and_its_task_runs_elsewhere(tmp_path):
    pool = started(2, timeout=scaled(2))
    try:
        tasks = pool.submit([(0, call("once", str(tmp_path / "hung"), "echo", 0, 3600))])
        tasks += pool.submit([(1, call("echo", n)) for n in range(5)])
        hanging, *others = [pool.wait(task) for task in tasks]
        assert (hanging.value, hanging.attempts) == ("second life", 2)
        assert [task.value for task in others] == list(range(5))
        assert pool.restarts == 1
    finally:
        pool.close()


def test_a_task_that_always_hangs_is_given_up():
    pool = started(1, timeout=0.5)
    try:
        (slow,) = pool.submit([(0, call("echo", 0, seconds=3600))])
        with pytest.raises(WorkerLostError, match=r"lost 3 times, .* no answer within 0\.5 s"):
            pool.wait(slow)
    finally:
        pool.close()


def test_a_worker_that_has_answered_is_not_given_up_with_one_that_hangs(tmp_path):
    """Its answer is fetched later than its time is over: only the other one is waited for."""
    pool = started(2, timeout=scaled(2))
    try:
        while pool.workers < 2:
            for task in pool.submit([(0, call("echo", n, seconds=0.1)) for n in range(2)]):
                pool.wait(task)
        answering, hanging = pool.submit(
            [(0, call("echo", 3)), (1, call("once", str(tmp_path / "hung"), "echo", 0, 3600))]
        )
        assert pool.wait(hanging).value == "second life"
        assert (pool.wait(answering).value, answering.attempts) == (3, 1)
        assert pool.restarts == 1
    finally:
        pool.close()


def test_workers_that_there_is_no_room_for_yet_join_when_there_is():
    holding, waiting = started(1, cpus=2), started(2, cpus=2)  # of 4
    try:
        (task,) = waiting.submit([(0, call("echo", 1))])
        assert (waiting.wait(task).value, waiting.workers) == (1, 1)
        holding.close()

        def joined() -> bool:
            tasks = waiting.submit([(0, call("echo", n, seconds=0.05)) for n in range(4)])
            assert [waiting.wait(task).value for task in tasks] == list(range(4))
            return waiting.workers == 2

        until(joined)
        assert waiting.restarts == 0
    finally:
        waiting.close()


def test_a_mistake_in_a_task_is_not_tried_again_and_costs_no_worker(pool):
    failing, other = pool.submit([(0, call("fail")), (1, call("echo", 4))])
    with pytest.raises(ZeroDivisionError, match="a mistake in the task"):
        pool.wait(failing)
    assert pool.wait(other).value == 4
    assert (failing.attempts, pool.restarts) == (1, 0)


def test_closing_ends_the_workers():
    pool = started(2)
    tasks = pool.submit([(0, call("pid"))] * 2)
    pids = {pool.wait(task).value for task in tasks}
    pool.submit([(0, call("echo", 0, seconds=60))])
    pool.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
