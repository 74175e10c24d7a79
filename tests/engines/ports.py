"""Free loopback ports that no other run takes meanwhile."""

from __future__ import annotations

import os
import random
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path

from filelock import FileLock, Timeout

FIRST, END = 6000, 12000
"""Below those of local pods and Services, and of the near ends of outgoing connections."""


def is_free(number: int) -> bool:
    """Whether any program could listen on that port now, at the loopback address or at all. Some programs do not set SO_REUSEADDR."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as attempt:
        try:
            attempt.bind(("0.0.0.0", number))
        except OSError:
            return False
    return True


def kept_by_the_kernel(number: int) -> None:
    """Make the kernel keep that port for a while, as it does after a server that closes its connections first (TIME_WAIT)."""
    with socket.create_server(("127.0.0.1", number)) as server, socket.create_connection(("127.0.0.1", number)) as client:
        server.accept()[0].close()
        client.recv(1)


def is_reserved(number: int) -> bool:
    """Whether a run that is still there has reserved that port."""
    try:
        with FileLock(_locks() / str(number), timeout=0):
            return False
    except Timeout:
        return True


def free_port() -> int:
    """A free port that is this process's until it ends: no other test gets it, and no outgoing connection, also while nothing listens."""
    return _next(iter(random.sample(range(FIRST, END), END - FIRST)), _locks(), _kept())


@contextmanager
def reserved(names: Iterable[str]) -> Iterator[Mapping[str, int]]:
    """A free port for each name. A lock on each keeps other runs on this machine away, also while the server is down."""
    folder = _locks()
    candidates = iter(random.sample(range(FIRST, END), END - FIRST))
    with ExitStack() as locks:
        yield {name: _next(candidates, folder, locks) for name in names}


@cache
def _kept() -> ExitStack:
    """The locks of this process. The system releases them at its end."""
    return ExitStack()


def _locks() -> Path:
    folder = Path(tempfile.gettempdir()) / f"dyff-engines-ports-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _next(candidates: Iterator[int], folder: Path, locks: ExitStack) -> int:
    for number in candidates:
        with suppress(Timeout):
            lock = FileLock(folder / str(number), timeout=0)
            lock.acquire()
            if is_free(number):
                locks.callback(lock.release)
                return number
            lock.release()
    raise RuntimeError(f"no port from {FIRST} to {END} is free")
