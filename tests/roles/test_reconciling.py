"""The loop of the level-triggered roles: when it looks, how it waits, and what it says of itself."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from dyff.consumers.common import reconciling
from dyff.kernel import backoff, errors
from tests.roles import log, world

LONG_S = 60.0


class Looping:
    """A loop that counts its looks. `results`: of the first looks, in order; an error is raised. Then all goes well."""

    def __init__(self, *results, resync_s=LONG_S):
        self.trigger, self.progress, self.looks = reconciling.Trigger(), reconciling.Progress(), 0
        self._results, self._resync_s = list(results), resync_s

    async def reconcile(self):
        self.looks += 1
        found = self._results.pop(0) if self._results else 0.0
        if isinstance(found, Exception):
            raise found
        return found

    async def run(self, *, task_status=anyio.TASK_STATUS_IGNORED):
        task_status.started()
        await reconciling.reconcile_forever(
            self.reconcile,
            self.trigger.wait,
            resync_s=self._resync_s,
            retried=(errors.RetryLater,),
            event="look-failed",
            progress=self.progress,
        )

    async def waiting(self):
        (sign,) = await self.progress.signs()
        return sign.waiting


@pytest.fixture
def delays(monkeypatch):
    """How long it waited after failures; each wait is in truth a hundredth of that."""
    waited: list[Any] = []

    def counted(*args, **kwargs):
        for delay in real():
            waited.append(delay)
            yield delay / 100

    real = backoff.delays
    monkeypatch.setattr(backoff, "delays", counted)
    return waited


async def test_it_looks_at_the_start_and_at_each_trigger():
    """A trigger leads to a look, several at once to one, and without one nothing is looked at."""
    loop = Looping()
    async with log.running(loop.run):
        await world.until(lambda: loop.looks == 1)
        for count in (2, 3):
            loop.trigger.set()
            loop.trigger.set()
            await world.until(lambda count=count: loop.looks == count)
        # real time: nothing reports that something does not happen
        await anyio.sleep(0.05)
    assert loop.looks == 3


async def test_a_trigger_during_a_look_is_not_lost():
    """What changes while it looks is looked at afterwards."""
    loop = Looping()
    loop.trigger.set()
    async with log.running(loop.run):
        await world.until(lambda: loop.looks == 2)


async def test_it_looks_again_after_the_resync_interval():
    """A change of which no trigger says anything is found all the same."""
    loop = Looping(resync_s=0.01)
    async with log.running(loop.run):
        await world.until(lambda: loop.looks >= 3)


async def test_after_failures_it_waits_longer_and_longer(delays):
    """Whether it raised or only not all went well; the first success makes the next wait short again."""
    loop = Looping(errors.Unavailable(), None, errors.NotReady(), None, 0.0, errors.Unavailable())
    async with log.running(loop.run):
        await world.until(lambda: loop.looks == 5)
        loop.trigger.set()
        await world.until(lambda: loop.looks == 7)
    assert delays == [0.1, 0.2, 0.4, 0.8, 0.1]


async def test_what_fails_in_the_wait_is_tried_again_as_well(delays, monkeypatch):
    """As a database that does not answer when the relay waits for it; then the waits grow although each look goes well."""
    loop, refusals = Looping(), [errors.Unavailable(), errors.Unavailable()]

    async def wait(timeout_s):
        if refusals:
            raise refusals.pop()
        return await reconciling.Trigger.wait(trigger, timeout_s)

    trigger, failing = loop.trigger, reconciling.Trigger()
    monkeypatch.setattr(failing, "wait", wait)
    loop.trigger = failing
    async with log.running(loop.run):
        await world.until(lambda: loop.looks == 3)
    assert delays == [0.1, 0.2]


async def test_another_error_ends_it():
    """An error that it was not given to retry is the role's to answer."""
    loop = Looping(errors.Fenced("another leads"))
    with pytest.raises(errors.Fenced):
        await loop.run()


async def test_the_liveness_check_sees_a_look_that_does_not_end(delays, monkeypatch):
    """From the beginning of a look to its end something waits, and after a failure until a look goes well; steps are progress."""
    hanging, proceed, loop = anyio.Event(), anyio.Event(), Looping()

    async def reconcile():
        if loop.looks == 0:
            loop.looks = 1
            raise errors.Unavailable
        hanging.set()
        await proceed.wait()
        return 0.0

    monkeypatch.setattr(loop, "reconcile", reconcile)
    assert await loop.waiting() is None
    async with log.running(loop.run):
        await hanging.wait()
        assert await loop.waiting() is not None
        (before,) = await loop.progress.signs()
        loop.progress.step()
        (after,) = await loop.progress.signs()
        assert before.mark != after.mark
        proceed.set()
        await world.until(lambda: _ended(loop))


async def _ended(loop):
    return await loop.waiting() is None
