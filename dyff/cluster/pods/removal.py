"""Removes folders that programs of accounts have filled, whatever is in them.

A tree can be deeper than a walk may recurse or hold descriptors for, and its folders can be closed to their owner. So each folder is
opened to its owner, and the folders in it are moved to the top before it is removed: two descriptors are enough for any tree.
Nothing may run that changes the folders meanwhile.
"""

from __future__ import annotations

import itertools
import os
import stat
from collections.abc import Iterator
from contextlib import suppress

_MODE = 0o700
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIN = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(path: str) -> None:
    """Remove a folder with everything in it, without following a link. Nothing happens if it is not there.

    Raises:
        OSError: something cannot be removed; the rest is removed.
    """
    try:
        top = _opened(path, None)
    except FileNotFoundError:
        return
    try:
        problem = _empty(top)
    finally:
        os.close(top)
    if problem is not None:
        raise problem
    os.rmdir(path)


def _empty(top: int) -> OSError | None:
    """Remove everything in the folder. Returns the last problem."""
    problem: OSError | None = None
    free = (name for name in map(".{}".format, itertools.count()) if not _exists(name, top))
    waiting = list(os.listdir(top))
    while waiting:
        name = waiting.pop()
        try:
            waiting += _take_out(name, top, free)
        except OSError as error:
            problem = error
    return problem


def _take_out(name: str, top: int, free: Iterator[str]) -> list[str]:
    """Remove one entry of the folder `top`. Returns the names that the folders inside it have got there. `free`: unused names."""
    if not stat.S_ISDIR(os.stat(name, dir_fd=top, follow_symlinks=False).st_mode):
        os.unlink(name, dir_fd=top)
        return []
    moved = []
    folder = _opened(name, top)
    try:
        for inner in os.listdir(folder):
            if stat.S_ISDIR(os.stat(inner, dir_fd=folder, follow_symlinks=False).st_mode):
                os.close(_opened(inner, folder))  # only its owner may move a folder that is closed
                moved.append(next(free))
                os.rename(inner, moved[-1], src_dir_fd=folder, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=folder)
    finally:
        os.close(folder)
    os.rmdir(name, dir_fd=top)
    return moved


def _opened(name: str, above: int | None) -> int:
    """Open a folder that its owner can read and change from now on."""
    pinned = os.open(name, _PIN, dir_fd=above)
    try:
        if os.fstat(pinned).st_mode & _MODE != _MODE:
            with suppress(OSError):  # not ours: what follows says so
                os.chmod(f"/proc/self/fd/{pinned}", _MODE)
        return os.open(name, _FOLDER, dir_fd=above)
    finally:
        os.close(pinned)


def _exists(name: str, folder: int) -> bool:
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
