"""One time limit for many waits: each is left when it runs out, and nobody else is disturbed."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from dyff.kernel import deadlines

pytestmark = pytest.mark.virtual_time


async def wait(limits, seconds):
    """Waits under a deadline; returns whether it expired and when that was."""
    with limits.start() as wait:
        await asyncio.sleep(seconds)
    return wait.expired, round(asyncio.get_running_loop().time(), 3)


async def test_each_wait_has_the_limit_from_its_own_start():
    """What ends in time does not expire; what does not is left at its limit, whatever began before or after it."""
    limits = deadlines.Deadlines(10.0)
    start = asyncio.get_running_loop().time()

    async def later(delay, seconds):
        await asyncio.sleep(delay)
        return await wait(limits, seconds)

    found = await asyncio.gather(later(0, 60), later(1, 2), later(2, 60), later(3, 9.5), later(20, 60))
    assert [(expired, ended - start) for expired, ended in found] == [
        (True, 10), (False, 3), (True, 12), (False, 12.5), (True, 30),
    ]  # fmt: skip


async def test_ended_waits_are_forgotten():
    """Many short waits during a long one leave nothing behind once that has ended, and no timer."""
    limits = deadlines.Deadlines(10.0)
    long = asyncio.create_task(wait(limits, 5))
    await asyncio.sleep(0)
    for _ in range(100):
        assert await wait(limits, 0.01) == (False, round(asyncio.get_running_loop().time(), 3))
    await long
    assert not limits._waits


async def test_an_error_inside_passes():
    """The context swallows only the cancellation that it asked for."""
    limits = deadlines.Deadlines(10.0)
    with pytest.raises(KeyError), limits.start():
        raise KeyError


async def test_somebody_elses_cancellation_stays_one():
    """A task that is cancelled from outside ends cancelled, also when its limit passes in the same moment."""
    limits = deadlines.Deadlines(10.0)
    for at in (1.0, 10.0):
        task = asyncio.create_task(wait(limits, 60))
        await asyncio.sleep(at)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_it_works_inside_cancel_scopes():
    """An outer scope that ends first cancels as usual; an expired wait leaves the scope's task usable."""
    limits = deadlines.Deadlines(10.0)
    with anyio.move_on_after(5) as outer:
        await wait(limits, 60)
    assert outer.cancelled_caught
    with anyio.move_on_after(50) as outer:
        assert (await wait(limits, 60))[0]
        await anyio.sleep(1)
    assert not outer.cancelled_caught
