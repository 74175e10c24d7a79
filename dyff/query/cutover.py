"""Counts the cutovers of a view to a rebuilt one, which another process performs: data cached before a cutover is stale.

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
    """The counter; created if it is missing."""

    def __init__(self, path: Path) -> None:
        """`path`: the file of the view."""
        self._path = path
        file = os.open(f"{path}.switches", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(file).st_size < _SIZE:
                os.pwrite(file, bytes(_SIZE), 0)  # not a hole: to write into one on a full disk ends the process
            self._map = mmap.mmap(file, _SIZE)
        finally:
            os.close(file)

    def count(self) -> int:
        """The current value of the counter."""
        return int.from_bytes(self._map[:], "little")

    def begin(self) -> None:
        """Call before a cutover."""
        self._set(self.count() | 1)

    def end(self) -> None:
        """Call after a cutover, whether or not it succeeded."""
        self._set((self.count() | 1) + 1)

    def settle(self) -> None:
        """End a cutover that a process began that no longer exists."""
        if self.count() % 2:
            with suppress(errors.InUse), exclusive(self._path):
                self.end()

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    def _set(self, count: int) -> None:
        self._map[:] = count.to_bytes(_SIZE, "little")


def exclusive(path: Path) -> AbstractContextManager[None]:
    """Be the only process that rebuilds the view in the file `path`.

    Raises:
        InUse: another process is rebuilding it.
    """
    lock = path.with_name(f"{path.name}.rebuild")
    return locks.alone(lock, f"the query store {path} is being rebuilt by another process; wait for it")
