"""One worker per key: order, limits, back-off and the way it ends."""

from __future__ import annotations

from collections import Counter
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from dyff.kernel import errors, keyed

pytestmark = pytest.mark.virtual_time


class Work:
    """Work that records what it did and can be made to fail, to take long and to ask for another turn."""

    def __init__(self):
        self.runs, self.failures, self.peak = [], [], 0
        self.active: Counter[Any] = Counter()
        self.takes_s, self.again_s, self.errors = 0.0, None, []

    async def __call__(self, key):
        self.active[key] += 1
        assert self.active[key] == 1, "two workers on one key"
        self.peak = max(self.peak, self.active.total())
        try:
            await anyio.sleep(self.takes_s)
        finally:
            self.active[key] -= 1
        self.runs.append((round(anyio.current_time(), 3), key))
        if self.errors:
            raise self.errors.pop(0)
        return self.again_s

    def failed(self, key, error, delay_s):
        self.failures.append((key, type(error), round(delay_s, 3)))

    @property
    def keys(self):
        return [key for _, key in self.runs]


@pytest.fixture
def work():
    """What the workers do."""
    return Work()


@asynccontextmanager
async def running(work, **options):
    """Workers that run until the block ends, and then to depletion."""
    workers = keyed.Workers(work, failed=work.failed, **options)
    async with anyio.create_task_group() as group:
        await group.start(workers.run)
        yield workers
        workers.stop()


async def test_a_key_that_waits_is_there_once(work):
    """Adding a waiting key again adds no work."""
    async with running(work) as workers:
        for _ in range(5):
            workers.add("a")
    assert work.keys == ["a"]


async def test_a_key_added_while_it_is_worked_on_is_worked_on_once_more(work):
    """What happened during the work is not missed, and never worked on twice at the same time."""
    work.takes_s = 1
    async with running(work) as workers:
        workers.add("a")
        await anyio.sleep(0.5)
        for _ in range(3):
            workers.add("a")
    assert work.keys == ["a", "a"]


async def test_keys_are_worked_on_together_up_to_the_limit(work):
    """Concurrency reaches the limit and never passes it; keys start in the order they were added."""
    work.takes_s = 1
    async with running(work, limit=3) as workers:
        for key in range(7):
            workers.add(key)
    assert work.peak == 3
    assert work.keys == list(range(7))


async def test_a_key_returns_after_the_time_it_asked_for(work):
    """The seconds that the work returns are waited, then the key is worked on again."""
    work.again_s = 3600
    async with running(work) as workers:
        workers.add("a")
        await anyio.sleep(2 * 3600 + 1)
    assert [moment for moment, _ in work.runs] == [0, 3600, 7200]


async def test_an_added_key_does_not_wait_for_its_timer(work):
    """News are looked at at once, and the old timer is void."""
    work.again_s = 100
    async with running(work) as workers:
        workers.add("a")
        await anyio.sleep(30)
        workers.add("a")
        await anyio.sleep(110)
    assert [moment for moment, _ in work.runs] == [0, 30, 130]


async def test_failures_back_off_and_success_forgets_them(work):
    """Each failure in a row doubles the delay up to the ceiling; after a success it starts again."""
    work.errors = [OSError(), errors.Unavailable(), ValueError(), OSError()]
    async with running(work, first_delay_s=1, ceiling_s=3) as workers:
        workers.add("a")
        await anyio.sleep(60)
        work.errors = [OSError()]
        workers.add("a")
        await anyio.sleep(60)
    assert [delay for _, _, delay in work.failures] == [1, 2, 3, 3, 1]
    assert [moment for moment, _ in work.runs] == [0, 1, 3, 6, 9, 60, 61]


async def test_a_server_that_asks_for_patience_gets_it(work):
    """The delay is no shorter than the one that the error names."""
    work.errors = [errors.Unavailable(retry_after_s=7)]
    async with running(work, first_delay_s=1) as workers:
        workers.add("a")
        await anyio.sleep(60)
    assert [moment for moment, _ in work.runs] == [0, 7]


async def test_a_failing_key_does_not_hold_up_the_others(work):
    """While one key backs off the others go on."""
    work.errors = [OSError()]
    async with running(work, limit=1, first_delay_s=60) as workers:
        workers.add("bad")
        workers.add("good")
        await anyio.sleep(1)
        assert work.keys == ["bad", "good"]
        assert workers.statistics().failing == 1


async def test_stop_works_through_what_was_added_and_drops_what_was_for_later(work):
    """After stop the waiting keys are still done, timers are dropped and new keys are refused."""
    work.takes_s, work.again_s = 1, 10
    async with running(work, limit=1) as workers:
        workers.add("a")
        workers.add("b")
        await anyio.sleep(0.5)
        workers.stop()
        workers.add("late")
    assert work.keys == ["a", "b"]
    assert anyio.current_time() < 3


async def test_a_fatal_error_ends_the_workers(work):
    """What needs a person is not retried."""
    work.errors = [errors.LogDiverged()]
    with pytest.RaisesGroup(pytest.RaisesGroup(errors.LogDiverged)):
        async with running(work) as workers:
            workers.add("a")
            await anyio.sleep(1)
    assert work.failures == []


async def test_statistics_count_what_is_to_be_done(work):
    """The snapshot names the waiting, active and delayed keys and the age of the oldest one that waits; next to it, calls that ended."""
    work.takes_s, work.again_s = 10, 50
    async with running(work, limit=1) as workers:
        workers.add("a")
        workers.add("b")
        await anyio.sleep(4)
        assert workers.statistics() == keyed.Statistics(waiting=1, active=1, delayed=0, failing=0, oldest_s=4)
        assert workers.ended == 0
        await anyio.sleep(20)
        assert workers.statistics() == keyed.Statistics(waiting=0, active=0, delayed=2, failing=0, oldest_s=0)
        assert workers.ended == 2


async def test_cancelling_the_workers_cancels_the_work(work):
    """No task outlives a cancelled run."""
    work.takes_s = 1000
    workers = keyed.Workers(work, failed=work.failed)
    async with anyio.create_task_group() as group:
        await group.start(workers.run)
        workers.add("a")
        await anyio.sleep(1)
        group.cancel_scope.cancel()
    assert work.active.total() == 0
    assert work.runs == []


def test_a_limit_below_one_is_refused(work):
    """Workers that could never work are a mistake."""
    with pytest.raises(ValueError, match="at least 1"):
        keyed.Workers(work, failed=work.failed, limit=0)
