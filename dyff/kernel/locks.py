"""File locks between processes of one machine."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dyff.kernel import errors


@contextmanager
def alone(path: Path, problem: str) -> Iterator[None]:
    """Hold the lock of the file `path`, which is created; the kernel releases it however this process ends.

    Raises:
        InUse: another process holds it; `problem` is the message.
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
