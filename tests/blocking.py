"""No test may block an event loop: blockbuster watches every call that can wait, from the start of the session to its end.

A blocked loop stops everything else on it: the heartbeats of a lease, the other requests of a server, the deadlines of a
test. A call that blocks raises `BlockingError` where it is made, and its test fails even if something caught that.

Two rules. Waiting (a sleep, a lock, a socket, another process) is forbidden to every frame on a loop. Reading or writing files is
forbidden to what Dyff does on a loop: tests prepare small files, with Dyff's functions, too, and libraries read theirs when they start.
"""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import apsw
import blockbuster.blockbuster
import pytest
from blockbuster import BlockBuster, BlockBusterFunction, BlockingError

_ROOT = str(Path(__file__).parents[1])
_DYFF, _TESTS = f"{_ROOT}/dyff/", f"{_ROOT}/tests/"
_ON_LOOP = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_STEPS = f"{_ROOT}/dyff/workflows/"
"""Each is a program of its own, which tests call in their process: files are its work, and its loop serves no one else."""

ALLOWED = (
    ("<frozen importlib._bootstrap>", "_find_and_load", "an import reads files, once in a process's life"),
    ("/subprocess.py", "_get_devnull", "a program is started with /dev/null, which never waits"),
    ("/dyff/sdk/calls.py", "run", "the blocking client blocks whatever calls it, also a notebook's loop"),
    ("/dyff/sdk/arguments.py", "folder", "looks at one folder before a request"),
    ("/dyff/sdk/downloads.py", "_write", "gives the kernel one piece of a file, and does not wait for the disk"),
    ("/logging/__init__.py", "emit", "log lines go where the program that uses a library sends them"),
    ("/dyff/api/app.py", "build", "a server builds its application once, before it listens: it lists a folder of modules"),
    ("/structlog/tracebacks.py", "extract", "asks for the working directory, which does not wait"),
    ("/rich/traceback.py", "from_exception", "a developer's log shows the source of what failed; a server's log does not"),
    ("/rich/traceback.py", "__rich_console__", "the same"),
    (
        "/dyff/accounts/embedded.py",
        "_read",
        "reads a row or two by key: microseconds, and no writer makes a reader wait",
    ),
    ("/dyff/query/finding.py", "one", "reads one document by its key, and SQLite interrupts it at the end of its budget"),
    ("/dyff/query/finding.py", "execute", "the same"),
    ("/dyff/query/finding.py", "small", "the same; what takes longer is read in a thread"),
    ("/dyff/query/finding.py", "count_small", "the same; what takes longer is counted in a thread"),
    ("/dyff/query/finding.py", "close", "ends a snapshot of reading, which writes nothing"),
    ("/dyff/serve/migrating.py", "prepare", "brings files to the present form, before a server listens"),
    ("/dyff/serve/directory.py", "require_finished", "a command asks for one file, before anything else is on its loop"),
    ("/dyff/cluster/pods/starting.py", "_process", "asks before a start which of a few folders the machine has"),
    ("/dyff/cluster/pods/shim/files.py", "take", "a lock file is opened when the kubelet starts, and never waited for"),
    ("/dyff/kernel/locks.py", "alone", "a lock file is opened once, when its store opens, and never waited for"),
    ("/tests/api/test_role.py", "late", "connects to this process at the very moment of its stop"),
    ("/tests/workflows/runs.py", "serving", "ends a server of the test, when the test has done its work"),
    ("/tests/certificates.py", "make", "runs openssl before the test itself begins"),
    ("/pymongo/pool_options.py", "get_container_env_info", "PyMongo asks once if it is in a container"),
    ("/dyff/cluster/kubernetes/connecting.py", "_load", "the vendor's loader reads small files, at the start and when they are renewed"),
)
"""File, function, and why it may block a loop."""

_watching = False

blocked: list[str] = []
"""What blocked a loop since the last look, each with the end of its stack."""


class _Recorded(BlockingError):
    """Also noted, since what made the call may catch every exception."""

    def __init__(self, func: str) -> None:
        super().__init__(func)
        lines = traceback.format_list(traceback.extract_stack(sys._getframe(2), limit=14))
        blocked.append(f"{self}\n{''.join(lines)}")


def _by_dyff() -> bool:
    """If a coroutine or a callback of Dyff's does it, not a test that calls a function; and no step of a workflow is at work."""
    found: bool | None = None
    inside = False
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    while frame is not None:
        name, flags = frame.f_code.co_filename, frame.f_code.co_flags
        if name.startswith(_STEPS):
            return False
        if found is None and name.startswith(_TESTS):
            found = False
        elif name.startswith(_DYFF):
            inside = True
            if found is None and flags & _ON_LOOP:
                found = True
        frame = frame.f_back
    return inside if found is None else found


def _on_files(found: BlockBusterFunction) -> None:
    before = found.can_block_predicate
    found.can_block_predicate = lambda *args, **kwargs: before(*args, **kwargs) or not _by_dyff()


def _further() -> dict[str, BlockBusterFunction]:
    """What blockbuster does not know."""
    files = {
        f"{module.__name__}.{name}": BlockBusterFunction(module, name)
        for module, names in (
            (os, ("open", "fsync", "fdatasync", "chmod")),
            (apsw.Cursor, ("execute",)),
            (apsw.Connection, ("execute", "close")),
        )
        for name in names
    }
    for each in files.values():
        _on_files(each)
    ended: Callable[..., bool] = lambda process, *_, **__: process.returncode is not None or process.poll() is not None  # noqa: E731
    return {
        **files,
        "Popen.wait": BlockBusterFunction(subprocess.Popen, "wait", can_block_predicate=ended),
        "Popen.communicate": BlockBusterFunction(subprocess.Popen, "communicate", can_block_predicate=ended),
    }


def watch(on: bool) -> None:
    """Check from now on, or do not."""
    global _watching
    _watching = on


def _only_while_watching(found: BlockBusterFunction) -> None:
    before = found.can_block_predicate
    found.can_block_predicate = lambda *args, **kwargs: not _watching or before(*args, **kwargs)


@contextmanager
def watched() -> Iterator[None]:
    """While `watch` is on, every call that can block is checked until the end."""
    buster = BlockBuster()
    for name, found in buster.functions.items():
        if name.startswith(("os.", "io.")):
            _on_files(found)
    buster.functions.update(_further())
    for found in buster.functions.values():
        _only_while_watching(found)
        for file, function, _ in ALLOWED:
            found.can_block_in(file, function)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(blockbuster.blockbuster, "BlockingError", _Recorded)
        buster.activate()
        try:
            yield
        finally:
            buster.deactivate()


def taken() -> list[str]:
    """What blocked a loop since the last look."""
    found = blocked[:]
    blocked.clear()
    return found
