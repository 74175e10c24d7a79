"""Incomplete files. Blocking."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import uuid
from pathlib import Path

from dyff.kernel import errors
from dyff.objects import hashing

_ABANDONED_S = 3600
"""A temporary file older than this is removed if no process holds it. The delay covers the moment between creating and locking it."""


class Incoming:
    """A directory of invisible files and directories: not yet complete, or about to be deleted."""

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(parents=True, exist_ok=True)

    def name(self) -> Path:
        """A unique path."""
        return self._root / uuid.uuid4().hex

    def clear_away(self) -> None:
        """Remove what killed processes left behind. Files that others are writing are locked, and stay."""
        for entry in list(os.scandir(self._root)):
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
                continue
            with contextlib.suppress(FileNotFoundError):  # its writer has ended in the meantime
                if time.time() - entry.stat(follow_symlinks=False).st_mtime > _ABANDONED_S:
                    _remove_unless_locked(entry.path)


class Writing:
    """One object that is being written: its bytes are checked against the expected digest and size while they arrive."""

    def __init__(self, path: Path, md5: str | None, limit_bytes: int | None) -> None:
        """`md5` (base64) and `limit_bytes`: the expectations; None if there are none."""
        self.path = path
        self._promised, self._limit_bytes = md5, limit_bytes
        self._hash = hashing.Hash()
        self._descriptor: int | None = None

    def write(self, block: bytes) -> None:
        """Append `block`.

        Raises:
            TooLarge: the size limit is exceeded.
        """
        if self._limit_bytes is not None and self._hash.size_bytes + len(block) > self._limit_bytes:
            raise errors.TooLarge(f"more than the {self._limit_bytes} bytes that are allowed here").of_limit("upload_bytes")
        self._hash.update(block)
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(self._file(), rest) :]

    def complete(self) -> tuple[os.stat_result, hashing.Hash]:
        """Make it durable; returns its file status, and its digests.

        Raises:
            DigestMismatch: it does not match the expected digest.
        """
        found = self._hash
        if self._promised not in (None, found.md5):
            raise errors.DigestMismatch(f"the MD5 of the {found.size_bytes} bytes is {found.md5}, not {self._promised}")
        os.fsync(self._file())
        return os.fstat(self._file()), found

    def discard(self) -> None:
        """Close the file, and remove its temporary name if it still has it."""
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _file(self) -> int:
        if self._descriptor is None:
            self._descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        return self._descriptor


def _remove_unless_locked(path: str) -> None:
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(path)
        finally:
            os.close(descriptor)
