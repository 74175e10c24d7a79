"""What process 1 of a container has to do: end processes that have no parent any more, and pass signals on.

A process whose parent has ended becomes a child of process 1, and stays as a zombie until process 1 waits for it. A server must not do
that itself: a wait for any child would take exit codes from those who wait for their own. So process 1 forks, the server runs in the
child, and the parent only waits.
"""

from __future__ import annotations

import os
import signal
import sys

_PASSED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
_FROM_TERMINAL = 0x80
"""The code of a signal that the kernel sends itself, such as Ctrl-C: a terminal's group gets it, the server included."""


def become_parent_if_first() -> None:
    """If this is process 1, return in a new child, and end with that child's exit code; otherwise do nothing. Call it without threads."""
    if os.getpid() == 1 and sys.platform == "linux":
        _become_parent()


def _become_parent() -> None:
    awaited = {*_PASSED_ON, signal.SIGCHLD}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    while True:
        found = signal.sigwaitinfo(awaited)
        if found.si_signo == signal.SIGCHLD:
            _reap(child)
        elif found.si_code != _FROM_TERMINAL:
            os.kill(child, found.si_signo)


def _reap(child: int) -> None:
    """Wait for all that have ended. One signal can stand for several of them."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            os._exit(1)  # impossible: the child is waited for here only
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if pid == 0:
            return
