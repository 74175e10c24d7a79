"""Copies files with their digests, and makes a whole directory durable."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from dyff.kernel import errors
from dyff.objects import hashing
from dyff.serve.backups import contents

_CHUNK_BYTES = 2**20
SPARE_BYTES = 64 * 2**20
"""What stays free on a disk, in addition to what is written."""


def copy(descriptor: int, target: Path) -> hashing.Hash:
    """Copy an open file to the new file `target`; returns its digests. It is not durable yet."""
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = hashing.Hash()
    out = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        while piece := os.pread(descriptor, _CHUNK_BYTES, found.size_bytes):
            found.update(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[os.write(out, rest) :]
    finally:
        os.close(out)
    return found


def digests(path: Path) -> hashing.Hash:
    """The digests of a file, read from the disk as far as that can be had.

    Raises:
        FileNotFoundError, Damaged, Unavailable: see `contents.opened`.
    """
    found = hashing.Hash()
    file = contents.opened(path)
    try:
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        while piece := os.pread(file, _CHUNK_BYTES, found.size_bytes):
            found.update(piece)
    finally:
        os.close(file)
    return found


def described(path: str, found: hashing.Hash) -> contents.File:
    """The line of a file in the list."""
    return contents.File(path, found.size_bytes, found.sha256, found.md5)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sizes(root: Path) -> Iterator[int]:
    """The sizes of all files below a directory."""
    for directory, _, names in os.walk(root):
        for name in names:
            try:
                yield os.lstat(os.path.join(directory, name)).st_size
            except FileNotFoundError:
                continue


def require_space(path: Path, needed: int) -> None:
    """Refuse to write `needed` bytes to the disk of `path`, which exists.

    Raises:
        DiskFull: they do not fit.
    """
    disk = os.statvfs(path)
    free = disk.f_bavail * disk.f_frsize
    if free < needed + SPARE_BYTES:
        raise errors.DiskFull(
            f"the disk of {path} has {free // 2**20} MiB of free space, and {(needed + SPARE_BYTES) // 2**20 + 1} MiB are needed: make"
            " space, or choose another disk"
        )
