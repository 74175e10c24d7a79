"""What must not outlive its test: a task, a thread, a process.

What is left disturbs the tests that follow: it holds ports, writes to removed directories and takes the processor's time. What belongs to a
module or to the session was there before the test, and is not its fault. Sockets, files and loops that are left are errors already:
the interpreter warns of them.
"""

from __future__ import annotations

import asyncio
import os
import select
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

GRACE = 5.0
"""Seconds for what is ending already. Only a test that fails waits that long."""

UNTIL_THE_END = "until-the-end"
"""The name of a thread that only the end of its process stops, because what it runs is a program of its own elsewhere."""

KEPT = (
    UNTIL_THE_END,
    "tqdm_monitor",  # of a library: one for the process
    "lines",  # writes the log of a server's process until that ends, here that of the tests
    "asyncio-waitpid-",  # waits for a program, which is looked at itself
    "asyncio_",  # of the executor of a loop that a module or the session has; closing a loop joins its own
)
"""How the names of threads begin that are of others."""


@dataclass(frozen=True)
class Present:
    """What there is at one moment."""

    threads: frozenset[threading.Thread]
    children: frozenset[int]


def present() -> Present:
    return Present(frozenset(threading.enumerate()), _children())


async def tasks_left() -> list[str]:
    """The tasks of this loop besides the caller's, once those have ended that only needed their turn."""
    for _ in range(20):
        if not (left := asyncio.all_tasks() - {asyncio.current_task()}):
            return []
        await asyncio.sleep(0)
    return sorted(f"task {task.get_name()}: {task.get_coro()}" for task in left)


def left_since(before: Present, *, shares: bool = False) -> list[str]:
    """What is there that was not before, in words; waits at most `GRACE` for what ends by itself.

    `shares`: the test used something of its module or of the session, for instance a server, which may have started threads and
    programs meanwhile. Then nothing is compared.
    """
    if shares:
        return []
    deadline = time.monotonic() + GRACE
    found = []
    for thread in set(threading.enumerate()) - before.threads:
        if not thread.name.startswith(KEPT) and not _of_open_loop(thread) and not _of_motor(thread):
            thread.join(max(0.0, deadline - time.monotonic()))
            found += [f"thread {thread.name}{_where(thread)}"] if thread.is_alive() else []
    for child in _children() - before.children:
        if not _ends(child, deadline):
            found.append(f"process {child}: {_command(child)}")
    return found


def _where(thread: threading.Thread) -> str:
    """What it does, from the outside in."""
    frame = sys._current_frames().get(thread.ident or 0)
    return "" if frame is None else "\n" + "".join(traceback.format_stack(frame)).rstrip()


def _of_open_loop(thread: threading.Thread) -> bool:
    """If it is a worker of AnyIO's whose loop is open: that of the test is closed by now."""
    loop = getattr(thread, "loop", None)
    return isinstance(loop, asyncio.AbstractEventLoop) and not loop.is_closed()


def _of_motor(thread: threading.Thread) -> bool:
    """If it is a worker of Motor's, which all clients of a process share until it ends."""
    executor = getattr(sys.modules.get("motor.frameworks.asyncio"), "_EXECUTOR", None)
    return thread in getattr(executor, "_threads", ())


def _children() -> frozenset[int]:
    """The processes that this one started and has not waited for."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return frozenset()  # the usual case costs one call
    mine = os.getpid()
    return frozenset(int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent(entry) == mine)


def _parent(process: str) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _ends(child: int, deadline: float) -> bool:
    """If it ends before the deadline, and something has waited for it or its `Popen` is gone."""
    try:
        descriptor = os.pidfd_open(child)
    except OSError:
        return True
    try:
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(max(0.0, deadline - time.monotonic()) * 1000))
    finally:
        os.close(descriptor)


def _command(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return "ended"
