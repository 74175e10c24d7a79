"""Reports when our clock and the log's differ by so much that what expires would be judged wrongly."""

from __future__ import annotations

import anyio.abc

from dyff.bus import port
from dyff.kernel import degradation

LIMIT_S = 60.0
EVERY_S = 5.0
TROUBLE = "clock"


async def run(
    bus: port.Bus, troubles: degradation.Troubles, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
) -> None:
    """Compare the clocks every few seconds until cancelled. Ready immediately."""
    task_status.started()
    while True:
        check(bus, troubles)
        await anyio.sleep(EVERY_S)


def check(bus: port.Bus, troubles: degradation.Troubles) -> None:
    """Report the difference if it is `LIMIT_S` or more, and clear the report if it is not."""
    offset_s = bus.clock_offset_s()
    if offset_s is None:
        return
    if abs(offset_s) < LIMIT_S:
        troubles.clear(TROUBLE)
        return
    which = "behind" if offset_s > 0 else "ahead of"
    reason = f"our clock is {abs(offset_s):.0f} seconds {which} the log's"
    troubles.report(TROUBLE, f"{reason}; set the clocks of this machine and of the brokers")
