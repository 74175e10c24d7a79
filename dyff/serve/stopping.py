"""A command that writes much is stopped in an orderly way by SIGTERM and SIGHUP, as by Ctrl-C: what it has begun to write is removed.

Without this, SIGTERM would end the process at once, and a backup that was cut would take space until someone finds it.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

_STOPPING = (signal.SIGTERM, signal.SIGHUP)
_INTERRUPTING = (*_STOPPING, signal.SIGINT)
_CODE = 128
"""Shells add the number of a signal to this one for the exit code."""


class Stopped(SystemExit):
    """The command was asked to stop. Its exit code is the one that shells give for the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(_CODE + number)
        self.signal = signal.Signals(number).name


@contextmanager
def stops() -> Iterator[None]:
    """The first SIGTERM or SIGHUP raises `Stopped`; further ones are ignored, because the command is removing what it wrote.

    A signal that is ignored already, as SIGHUP under `nohup`, stays ignored. Does nothing outside of the main thread, which alone may
    choose what a signal does.
    """
    with _handlers(_STOPPING, _stop):
        yield


@contextmanager
def finishes() -> Iterator[None]:
    """What is done here is short and ends, whatever signal is sent."""
    with _handlers(_INTERRUPTING, signal.SIG_IGN):
        yield


@contextmanager
def _handlers(numbers: tuple[signal.Signals, ...], handler: Any) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in numbers}
    for each, found in before.items():
        if found is not signal.SIG_IGN:
            signal.signal(each, handler)
    try:
        yield
    finally:
        for each, found in before.items():
            if found is not None:
                signal.signal(each, found)


def _stop(number: int, _: FrameType | None) -> None:
    for each in _STOPPING:
        signal.signal(each, signal.SIG_IGN)
    raise Stopped(number)
