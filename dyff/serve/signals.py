"""Signals that end a server. SIGTERM, Ctrl-C and SIGHUP request an orderly stop; a second SIGTERM or Ctrl-C ends the process immediately.

SIGHUP is what a closed terminal sends, more than once. There is nothing to read again on it: settings hold for the life of a process,
and the log goes to standard error. Under `nohup` it stays ignored.
"""

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
    """Call `stop` at the first SIGTERM, SIGINT or SIGHUP; exit the process at a further SIGTERM or SIGINT."""
    heard = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        heard.append(signal.SIGHUP)
    with anyio.open_signal_receiver(*heard) as received:
        task_status.started()
        asked = False
        async for number in received:
            if asked and number != signal.SIGHUP:
                os._exit(EXIT_FORCED)
            if not asked:
                log.info("stopping", signal=signal.Signals(number).name)
                stop()
            asked = True
