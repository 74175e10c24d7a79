"""An aggregator at work on a log."""

from __future__ import annotations

import anyio

from dyff.bus import envelope, port
from dyff.consumers.aggregator import role as aggregator
from tests.roles import log


def running(bus, troubles=None):
    return log.running(aggregator.run, bus, clock=log.CLOCK, troubles=troubles)


async def folded(bus):
    """All that was published is folded, exactly as a replay folds it."""
    await log.until(lambda: log.is_current(bus))
    assert await log.written(bus) == await log.replayed(bus)


async def failure(bus):
    """The error that ends the role."""
    try:
        with anyio.fail_after(log.DEADLINE_S):
            async with running(bus):
                await anyio.sleep_forever()
    except Exception as error:
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        return error


def poison(entity, value=b"{not json", headers=None):
    command = log.status(entity, "Failed")
    message = envelope.command_message(command)
    return port.Message(message.key, value, message.headers if headers is None else headers)
