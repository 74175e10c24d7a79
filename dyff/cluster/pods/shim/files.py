"""Durable JSON files, and the lock that shows whether a pod's shim is alive. Used by both the server and the shim."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

TYPE_CHECKING = False  # importing `typing` would take a tenth of a shim's start; type checkers know this name
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]


def _private(path: str, flags: int) -> int:
    """Open a file for its owner only, since the arguments and environment of a process can contain secrets."""
    return os.open(path, flags, 0o600)


def write(path: str, value: Json, *, durable: bool = True) -> None:
    """Replace the file at `path` atomically, for its owner only. `durable`: it survives a power failure once this returns.

    Raises:
        OSError: the disk is full or the directory is gone; the old file is still intact.
    """
    temporary = f"{path}.tmp"
    with open(temporary, "wb", opener=_private) as file:
        file.write(json.dumps(value, separators=(",", ":")).encode())
        if durable:
            file.flush()
            os.fsync(file.fileno())
    os.replace(temporary, path)
    if durable:
        sync_directory(os.path.dirname(path))


def sync_directory(path: str) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read(path: str) -> Json | None:
    """Read what `write` wrote; None if the file does not exist."""
    try:
        with open(path, "rb") as file:
            value: Json = json.loads(file.read())
            return value
    except FileNotFoundError:
        return None


def take(path: str) -> int | None:
    """Take the lock at `path` without waiting. Returns a descriptor that holds it until closed; None if another process holds it.

    Raises:
        OSError: the directory does not exist.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


@contextmanager
def taken(path: str) -> Iterator[bool]:
    """Hold the lock at `path` inside the block, if it is free. Yields whether it was free."""
    descriptor = take(path)
    try:
        yield descriptor is not None
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_free(path: str) -> bool:
    """Whether no process holds the lock at `path` (also true if the file does not exist)."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return True
    try:
        # A shared lock, so that shims that check at the same moment do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
