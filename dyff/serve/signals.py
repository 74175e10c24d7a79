"""SIGTERM, Ctrl-C and a terminal that is closed (SIGHUP): the first requests an orderly stop, the second ends the process immediately."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import anyio
import anyio.abc
import structlog

log = structlog.get_logger()

EXIT_FORCED = 130


async def stop_on_signal(stop: Callable[[], None], *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    """Call `stop` at the first SIGTERM, SIGINT or SIGHUP; exit the process at the second. `nohup` keeps its effect."""
    wanted = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        wanted.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*wanted) as received:
        task_status.started()
        asked = False
        async for number in received:
            if asked:
                os._exit(EXIT_FORCED)
            asked = True
            log.info("stopping", signal=signal.Signals(number).name)
            stop()
