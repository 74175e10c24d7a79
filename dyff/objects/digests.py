"""The local store's cache of its objects' digests, in a tree of its own next to them. Blocking.

The cache repairs itself. A record identifies the exact file that it describes (inode, size, time of the last modification), so
one that was lost in a crash, or belongs to a file that was since replaced or edited, is detected, and the digests are
computed again from the bytes. Records therefore need neither fsync nor a lock between processes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec

from dyff.kernel import errors
from dyff.objects import hashing, tree

_CHUNK_BYTES = 2**20
_RECORD_BYTES = 4096


class Known(msgspec.Struct, frozen=True):
    """The digests of a file. `md5`: base64. `sha256`: hex; None if an older release recorded them."""

    md5: str
    sha256: str | None = None


class _Record(msgspec.Struct, frozen=True):
    md5: str
    inode: int
    size_bytes: int
    modified_ns: int
    sha256: str | None = None

    def describes(self, file: os.stat_result) -> bool:
        """Whether it is the record of exactly this file."""
        return (self.inode, self.size_bytes, self.modified_ns) == (file.st_ino, file.st_size, file.st_mtime_ns)


class Digests:
    """The records, by key."""

    def __init__(self, root: Path) -> None:
        self.tree = tree.Tree(root)

    def of(self, key: str, descriptor: int, incoming: Path, *, whole: bool = False) -> Known:
        """The digests of the open file of `key`; computed and recorded if they are unknown.

        `incoming`: a name for a temporary file, on the same file system. `whole`: whether the SHA-256 must be known, too.
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and record.describes(file) and not (whole and record.sha256 is None):
            return Known(record.md5, record.sha256)
        known = _computed(descriptor)
        self.remember(key, file, known, incoming)
        return known

    def remember(self, key: str, file: os.stat_result, known: Known, incoming: Path) -> None:
        """Record the digests of the file that `file` describes. A failure is ignored: it only costs time later."""
        record = _Record(known.md5, file.st_ino, file.st_size, file.st_mtime_ns, known.sha256)
        try:
            incoming.write_bytes(msgspec.json.encode(record))
            self.tree.place(incoming, key, if_absent=False, durable=False)
        except (OSError, errors.DyffError):
            with contextlib.suppress(OSError):
                incoming.unlink()

    def _read(self, key: str) -> _Record | None:
        descriptor = self.tree.open(key)
        if descriptor is None:
            return None
        try:
            return msgspec.json.decode(os.read(descriptor, _RECORD_BYTES), type=_Record)
        except msgspec.DecodeError:
            return None
        finally:
            os.close(descriptor)


def _computed(descriptor: int) -> Known:
    """The digests of an open file, from its bytes."""
    found = hashing.Hash()
    while piece := os.pread(descriptor, _CHUNK_BYTES, found.size_bytes):
        found.update(piece)
    return Known(found.md5, found.sha256)
