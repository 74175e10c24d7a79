"""Locks among processes of a machine, by files."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyff.kernel import errors


@contextmanager
def alone(path: Path, problem: str) -> Iterator[None]:
    """Hold the lock in the file `path`, which is made; the kernel gives it back however this process ends.

    Raises:
        InUse: another process holds it; `problem` says what that means.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise errors.InUse(problem) from error
        yield
    finally:
        os.close(file)
