from __future__ import annotations

import _thread
import threading

import pytest

from dyff.sdk import calls, io


def test_an_interruption_just_before_a_wait_is_noticed(as_in_a_terminal):
    """A signal that comes just before the main thread waits does not end that wait. Ctrl-C stops the transfers all the same."""
    stopped = threading.Event()
    outcomes = []

    async def transfer() -> None:
        stopped.wait(0.2)  # until the main thread waits for this one
        _thread.interrupt_main()  # as a signal, but it ends no wait
        outcomes.append(stopped.wait(20.0))

    with pytest.raises(KeyboardInterrupt):
        calls.run(io.Blocking().all([transfer], 1, stopped.set))
    assert outcomes == [True]
