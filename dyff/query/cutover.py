"""Counts the cutovers of a view to a rebuilt one, which another process does: what was cached before a cutover is stale.

The counter is in a file next to the view's, mapped into memory, so that reading it costs no system call. It is odd during a cutover.
"""

from __future__ import annotations

import mmap
import os
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from dyff.kernel import errors, locks

_SIZE = 8


class CutoverCounter:
    """The counter; made where it is missing."""

    def __init__(self, path: Path) -> None:
        """`path`: of the view's file."""
        self._path = path
        file = os.open(f"{path}.switches", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size < _SIZE:
                os.ftruncate(file, _SIZE)
            self._map = mmap.mmap(file, _SIZE)
        finally:
            os.close(file)

    def count(self) -> int:
        """The counter."""
        return int.from_bytes(self._map[:], "little")

    def begin(self) -> None:
        """A cutover may happen from now on."""
        self._set(self.count() | 1)

    def end(self) -> None:
        """It has happened, or has not."""
        self._set((self.count() | 1) + 1)

    def settle(self) -> None:
        """End what was begun by a process that is gone."""
        if self.count() % 2:
            with suppress(errors.InUse), exclusive(self._path):
                self.end()

    def close(self) -> None:
        """Give the memory back."""
        self._map.close()

    def _set(self, count: int) -> None:
        self._map[:] = count.to_bytes(_SIZE, "little")


def exclusive(path: Path) -> AbstractContextManager[None]:
    """Be the only process that rebuilds the view in the file `path`.

    Raises:
        InUse: another process does.
    """
    lock = path.with_name(f"{path.name}.rebuild")
    return locks.alone(lock, f"the query store {path} is being rebuilt by another process; wait for it")
