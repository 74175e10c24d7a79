"""Room on the disk of the data directory: a reserve that is given up when the disk is full, and the state that `full` reports.

The reserve is two files that are there only for their size. The first is removed when the disk fills up: so deletions, the end of runs
and what was accepted before can still be written, while the API refuses what would add data. The second is removed only by a start on
a full disk, which needs room for a few small files.
"""

from __future__ import annotations

import contextlib
import os
from functools import partial
from pathlib import Path
from typing import NamedTuple

import anyio.abc
import anyio.to_thread
import structlog

from dyff.kernel import degradation

log = structlog.get_logger()

EVERY_S = 1.0
TROUBLE = "disk"
SHARE = 16
"""The reserve is at most 1/`SHARE` of the file system."""
_PIECE = b"\0" * 2**20


class Room(NamedTuple):
    """Bytes of a file system that are free for us, and its size."""

    free: int
    size: int


class Space:
    """The disk of one data directory. `full`: it has less than a quarter of the reserve left, besides the reserve."""

    def __init__(self, root: Path, reserve_bytes: int, troubles: degradation.Troubles) -> None:
        """`reserve_bytes`: 0 for none, then nothing is reported as full either. `root` must exist."""
        self._root, self._troubles = root, troubles
        disk = os.statvfs(root)
        self._size = min(reserve_bytes, disk.f_blocks * disk.f_frsize // SHARE) // 2 * 2
        self._for_work, self._for_start = root / "reserve-for-work", root / "reserve-for-start"
        self.full = False

    def make_room(self) -> None:
        """Before a start: give up the reserve if the disk is full. Blocks."""
        if self._free() < self._size:
            for file in (self._for_work, self._for_start):
                file.unlink(missing_ok=True)
            self._enter()

    async def run(self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
        """Look at the disk every second until cancelled. Ready immediately."""
        task_status.started()
        look = partial(anyio.to_thread.run_sync, self.look)
        await degradation.keep_doing(look, name="reserve of disk space", every_s=EVERY_S, troubles=self._troubles)

    def look(self) -> None:
        """Give the reserve up if the disk is full, and take it again when there is space. Blocks.

        Raises:
            OSError: the reserve cannot be written.
        """
        free = self._free()
        if not self._size:
            return
        if free < self._size // 4 and not self.full:
            self._for_work.unlink(missing_ok=True)
            self._enter()
        elif free >= 2 * self._size:
            for file in (self._for_start, self._for_work):
                _allocate(file, self._size // 2)
            self.full = False
            self._troubles.clear(TROUBLE)
        elif self.full:
            self._enter()

    def _enter(self) -> None:
        self.full = self._size > 0
        if self.full:
            reason = f"the disk of {self._root} is full: new data is refused until {2 * self._size // 2**10} KiB are free"
            self._troubles.report(TROUBLE, f"{reason} (now {self._free() // 2**10})")

    def room(self) -> Room:
        """The room on the disk, without the reserve. Blocks.

        Raises:
            OSError: it cannot be read.
        """
        disk = os.statvfs(self._root)
        return Room(disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize)

    def _free(self) -> int:
        return self.room().free


def _allocate(path: Path, size: int) -> None:
    """Make a file of `size` bytes that has its blocks; an existing one stays. Nothing is left of one that does not fit."""
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_size == size:
            return
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        left = size
        while left > 0:
            left -= os.write(file, _PIECE[:left])
    except OSError:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(file)
