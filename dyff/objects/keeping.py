"""Keeps what is deleted while a backup is made: it is moved aside, so that the backup has everything that was there when it began.

    <root>/backup.lock          held exclusively by a backup, and shared by each deletion
    <root>/removed/<id>/<key>   what was deleted meanwhile; removed when the backup ends, or at the next start

A backup waits for the deletions that are in progress, and no deletion waits for a backup. Blocking.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from dyff.kernel import errors

WAIT_S = 60.0
"""How long a backup waits for deletions in progress. Deleting a large tree takes seconds."""
_LOOK_S = 0.05


class Kept:
    """What deletions of one store leave for a backup."""

    def __init__(self, root: Path) -> None:
        """`root`: of the store."""
        self._lock, self._removed = root / "backup.lock", root / "removed"

    @contextlib.contextmanager
    def deleting(self) -> Iterator[Path | None]:
        """Delete something in this context. Yields a new directory to move it to, below its key; None if no backup is being made."""
        lock = self._opened()
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                yield self._removed / uuid.uuid4().hex
            else:
                yield None
        finally:
            os.close(lock)

    @contextlib.contextmanager
    def keeping(self, wait_s: float = WAIT_S) -> Iterator[Path]:
        """Make a backup in this context. Yields the directory in which each directory has deleted objects below their keys.

        Raises:
            InUse: another backup is being made, or a deletion takes longer than `wait_s`.
        """
        with self.alone(wait_s):
            self._clear()
            self._removed.mkdir(mode=0o700, exist_ok=True)
            try:
                yield self._removed
            finally:
                self._clear()

    @contextlib.contextmanager
    def alone(self, wait_s: float = 0.0) -> Iterator[None]:
        """Keep backups away in this context, such as while the store is replaced.

        Raises:
            InUse: a backup is being made, or a deletion takes longer than `wait_s`.
        """
        lock, until = self._opened(), time.monotonic() + wait_s
        try:
            while not (_locked(lock) and self._is_named(lock)):
                if time.monotonic() >= until:
                    raise errors.InUse("another backup is being made, or a deletion takes very long: try again later")
                time.sleep(_LOOK_S)
                os.close(lock)
                lock = self._opened()
            yield
        finally:
            os.close(lock)

    def _opened(self) -> int:
        return os.open(self._lock, os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _is_named(self, lock: int) -> bool:
        """Whether the lock is still that of this store, which a restore may have replaced meanwhile."""
        try:
            return os.path.samestat(os.fstat(lock), os.stat(self._lock))
        except FileNotFoundError:
            return False

    def clear_away(self) -> None:
        """Remove what a backup left that was killed."""
        if not self._removed.exists():
            return
        lock = self._opened()
        try:
            if _locked(lock):
                self._clear()
        finally:
            os.close(lock)

    def _clear(self) -> None:
        shutil.rmtree(self._removed, ignore_errors=True)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
