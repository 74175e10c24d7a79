"""A step for tests: `python -P -m tests.pods.a_step NAME` does what NAME says. `state` prints all that a process begins with."""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import locale
import logging
import os
import random
import resource
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

_PR_GET_PDEATHSIG = 2


def say(text: object, *, flush: bool = False) -> None:
    """Write a line to standard output."""
    sys.stdout.write(f"{text}\n")
    if flush:
        sys.stdout.flush()


def prepare() -> None:
    """Import what steps need: all of it is above."""


def main() -> int:
    """Do what the first argument says."""
    return int(ACTIONS[sys.argv[1]]() or 0)


def print_state() -> None:
    """Print what could differ between a process of its own and a forked one."""
    death = ctypes.c_int()
    ctypes.CDLL(None).prctl(_PR_GET_PDEATHSIG, ctypes.byref(death))
    umask = os.umask(0)
    os.umask(umask)
    child = subprocess.run(["/usr/bin/env", "-0"], capture_output=True, check=True).stdout.decode()
    state = {
        "environment": dict(os.environ),
        "environment of a child": sorted(line for line in child.split("\0") if line),
        "arguments": sys.argv,
        "all arguments": sys.orig_argv[1:],
        "command": Path("/proc/self/cmdline").read_text().rstrip("\0").split("\0")[1:],
        "directory": os.getcwd(),
        "umask": umask,
        "handlers": {number.name: str(signal.getsignal(number)) for number in signal.valid_signals() if isinstance(number, signal.Signals)},
        "blocked": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
        "wakeup": signal.set_wakeup_fd(-1),
        "timers": [signal.getitimer(which) for which in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)],
        "descriptors": _descriptors(),
        "limits": [resource.getrlimit(each) for each in range(16)],
        "streams": [_stream(each) for each in (sys.stdin, sys.stdout, sys.stderr)],
        "same streams": [sys.stdin is sys.__stdin__, sys.stdout is sys.__stdout__, sys.stderr is sys.__stderr__],
        "flags": str(sys.flags),
        "path": sys.path,
        "finders": [getattr(each, "__name__", type(each).__name__) for each in sys.meta_path],
        "main": [sys.modules["__main__"].__file__, sys.modules["__main__"].main.__name__],
        "threads": [threading.active_count(), threading.current_thread().name, len(os.listdir("/proc/self/task"))],
        "leads": [os.getsid(0) == os.getpid(), os.getpgid(0) == os.getpid()],
        "parent death": death.value,
        "nice": os.nice(0),
        "oom": Path("/proc/self/oom_score_adj").read_text(),
        "users": [os.getresuid(), os.getresgid(), os.getgroups()],
        "collecting": [gc.isenabled(), gc.get_threshold(), gc.get_debug()],
        "locale": [locale.setlocale(locale.LC_ALL), sys.getfilesystemencoding(), locale.getencoding()],
        "zone": time.tzname,
        "temporary": tempfile.gettempdir(),
        "hooks": [sys.excepthook is sys.__excepthook__, sys.unraisablehook is sys.__unraisablehook__, sys.gettrace(), sys.getprofile()],
        "warnings": [str(each) for each in warnings.filters],
        "logging": [str(each) for each in logging.getLogger().handlers],
        "recursion": [sys.getrecursionlimit(), sys.getswitchinterval()],
    }
    say(json.dumps(state))


def _descriptors() -> list[list[object]]:
    found: list[list[object]] = []
    for number in range(256):
        try:
            kind = os.fstat(number).st_mode
        except OSError:
            continue
        found.append([number, stat.S_IFMT(kind), os.get_blocking(number), os.get_inheritable(number)])
    return found


def _stream(stream: TextIO) -> list[object]:
    names = ("encoding", "errors", "line_buffering", "write_through", "newlines", "name", "mode", "closed")
    buffered: Any = stream.buffer
    return [*(str(getattr(stream, each, None)) for each in names), type(buffered).__name__, buffered.raw.mode, buffered.raw.closefd]


def _fail() -> None:
    raise ValueError("this is what went wrong")


def _exit_with(code: int | str | None) -> Callable[[], object]:
    return lambda: sys.exit(code)


def _say_late() -> None:
    time.sleep(0.2)  # real time: the thread must outlive the main function
    say("the thread has ended")


def _end_late() -> None:
    """Returns while a thread still works, and with something to call at the end."""
    atexit.register(lambda: say("called at the end"))
    threading.Thread(target=_say_late).start()
    say("main has ended")


def _stay_signalled(number: int) -> Callable[[], None]:
    def act() -> None:
        os.kill(os.getpid(), number)
        # real time: it stays until it is killed
        time.sleep(60)

    return act


def _leave_buffered() -> int:
    sys.stdout.write("half a line")
    sys.stderr.write("an error, ")
    return 3


def _break_output() -> None:
    os.close(1)
    sys.stdout.write("this cannot be written")


def _allocate() -> None:
    held = bytearray(random.randbytes(2**20)) * 200
    say(len(held), flush=True)
    # real time: it stays until it is killed
    time.sleep(60)


def _leave_child() -> None:
    """A child that outlives it, in a session of its own and with an environment of its own."""
    subprocess.Popen(["/bin/sleep", "600"], start_new_session=True)
    say("started", flush=True)
    # real time: it stays until it is killed
    time.sleep(600)


def _sleep() -> None:
    say("asleep", flush=True)
    time.sleep(600)  # real time: it stays until it is killed


ACTIONS: dict[str, Callable[[], Any]] = {
    "state": print_state,
    "random": lambda: say(random.random()),
    "return-7": lambda: 7,
    "exit-none": _exit_with(None),
    "exit-text": _exit_with("a last word"),
    "exit-259": _exit_with(259),
    "exit-negative": _exit_with(-1),
    "raise": _fail,
    "late": _end_late,
    "terminated": _stay_signalled(signal.SIGTERM),
    "interrupted": _stay_signalled(signal.SIGINT),
    "killed": _stay_signalled(signal.SIGKILL),
    "hung up": _stay_signalled(signal.SIGHUP),
    "buffered": _leave_buffered,
    "broken": _break_output,
    "at-once": lambda: os._exit(5),
    "allocate": _allocate,
    "child": _leave_child,
    "sleep": _sleep,
}

if __name__ == "__main__":
    sys.exit(main())
