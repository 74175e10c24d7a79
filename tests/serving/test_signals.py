"""Which signals ask a server to stop."""

from __future__ import annotations

import os
import signal

import anyio
import pytest

from dyff.serve import signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_signal_asks_once_to_stop(number):
    """Also SIGHUP, which a terminal that is closed sends: otherwise its default would end the process at once."""
    asked = anyio.Event()
    async with anyio.create_task_group() as group:
        await group.start(signals.stop_on_signal, asked.set)
        os.kill(os.getpid(), number)
        with anyio.fail_after(10):
            await asked.wait()
        group.cancel_scope.cancel()


async def test_nohup_keeps_its_effect():
    """A SIGHUP that was ignored when the server was started stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        async with anyio.create_task_group() as group:
            await group.start(signals.stop_on_signal, lambda: pytest.fail("it stopped"))
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            group.cancel_scope.cancel()
    finally:
        signal.signal(signal.SIGHUP, before)
