"""The local store's records of its objects: what was stored, in a tree of its own next to them. Blocking.

A record identifies the exact file that it describes (inode, size, time of the last modification). The store never changes a file, it
only puts another one in its place. So a file that is still the same one (its inode), but has other bytes than its record says, is
damaged, and is not served. A record that was lost in a crash, or describes a file that was replaced since, is computed again from the
bytes. Records therefore need neither fsync nor a lock between processes.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import msgspec
import structlog

from dyff.kernel import errors
from dyff.objects import hashing, tree

log = structlog.get_logger()

_CHUNK_BYTES = 2**20
_RECORD_BYTES = 4096
_REMEDY = "restore it from a backup"


class Known(msgspec.Struct, frozen=True):
    """The digests of a file. `md5`: base64. `sha256`: hex; None if an older release recorded them."""

    md5: str
    sha256: str | None = None


class _Record(msgspec.Struct, frozen=True):
    """What was stored. `md5`: base64. `sha256`: hex; None if an older release recorded it."""

    md5: str
    inode: int
    size_bytes: int
    modified_ns: int
    sha256: str | None = None

    def describes(self, file: os.stat_result) -> bool:
        """Whether it is the record of exactly this file."""
        return (self.inode, self.size_bytes, self.modified_ns) == (file.st_ino, file.st_size, file.st_mtime_ns)

    def differs(self, known: Known) -> bool:
        """Whether it describes other bytes."""
        return self.md5 != known.md5 or self.sha256 not in (None, known.sha256)


class Digests:
    """The records, by key."""

    def __init__(self, root: Path) -> None:
        self.tree = tree.Tree(root)

    def of(self, key: str, descriptor: int, incoming: Path, *, whole: bool = False) -> Known:
        """The digests of the open file of `key`; computed and recorded if they are unknown.

        `incoming`: a name for a temporary file, on the same file system. `whole`: whether the SHA-256 must be known, too.

        Raises:
            Damaged: the file is not what was stored.
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and record.describes(file) and not (whole and record.sha256 is None):
            return Known(record.md5, record.sha256)
        if record is not None and record.inode == file.st_ino and record.size_bytes != file.st_size:
            raise errors.Damaged(
                f"the object {key!r} is damaged: it has {file.st_size} bytes, and {record.size_bytes} were stored; {_REMEDY}"
            )
        known = _computed(descriptor)
        if record is not None and record.differs(known):
            if record.inode == file.st_ino:
                raise errors.Damaged(f"the object {key!r} is damaged: its bytes are not those that were stored; {_REMEDY}")
            log.warning("object-replaced", key=key, had=record.md5, has=known.md5)
        self.remember(key, file, known, incoming)
        return known

    def expected(self, key: str, file: os.stat_result) -> Known | None:
        """What was recorded of exactly the file that `file` describes; None if nothing was."""
        record = self._read(key)
        return None if record is None or record.inode != file.st_ino else Known(record.md5, record.sha256)

    def check(self, key: str, descriptor: int, incoming: Path) -> None:
        """Verify that the open file of `key` is what was stored. Reads its bytes only if it was touched since then.

        Raises:
            Damaged: it is not.
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and record.inode == file.st_ino:
            self.of(key, descriptor, incoming)

    def remember(self, key: str, file: os.stat_result, known: Known, incoming: Path) -> None:
        """Record the digests of the file that `file` describes. A failure is ignored: it only costs time later."""
        record = _Record(known.md5, file.st_ino, file.st_size, file.st_mtime_ns, known.sha256)
        try:
            incoming.write_bytes(msgspec.json.encode(record))
            self.tree.place(incoming, key, if_absent=False, durable=False)
        except (OSError, errors.DyffError):
            with contextlib.suppress(OSError):
                incoming.unlink()
            with contextlib.suppress(OSError, errors.DyffError):
                self.tree.remove(key, durable=False)  # a record of an earlier file would call this one damaged if it got its inode

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
