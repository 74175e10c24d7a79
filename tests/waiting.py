"""How tests wait for what nothing reports as an event: another process, a file, what a server answers.

A task that others in the same loop must reach first is an event: `anyio.wait_all_tasks_blocked`. A delay is virtual time (the marker
`virtual_time`). What is left is real time, and `tests/architecture/test_sleeps.py` asks for the reason of each sleep.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

DEADLINE_S = 60.0
"""Much longer than anything takes, on a busy machine, too."""
LOOK_S = 0.02

T = TypeVar("T")


async def until(condition: Callable[[], T | Awaitable[T]], what: str = "it", *, limit_s: float = DEADLINE_S) -> T:
    """What the condition returns, once that is true. It may be a coroutine function; it is asked again and again.

    Raises:
        AssertionError: that did not happen in time; it names `what`.
    """
    with anyio.move_on_after(limit_s):
        while True:
            found = condition()
            if isinstance(found, Awaitable):
                found = await found
            if found:
                return found
            await a_moment()
    raise AssertionError(f"{what} did not happen in {limit_s:g} s")


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str] = "it", *, limit_s: float = DEADLINE_S, look_s: float = LOOK_S
) -> T:
    """Like `until`, in a test without a loop. `what`: also a function, which is called if it did not happen.

    Raises:
        AssertionError: that did not happen in time; it names `what`.
    """
    end = time.monotonic() + limit_s
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"{what if isinstance(what, str) else what()} did not happen in {limit_s:g} s")
        a_blocking_moment(look_s)
    return found


async def a_moment() -> None:
    """Before the next look at what nothing reports, in a loop with a deadline. `until` is such a loop."""
    await anyio.sleep(LOOK_S)  # real time: a thread or a process works meanwhile, and nothing says when


def a_blocking_moment(look_s: float = LOOK_S) -> None:
    """The same without a loop of tasks."""
    time.sleep(look_s)  # real time: another process works meanwhile, and nothing says when
