"""The local store's records of its objects: what was stored, in a tree of its own next to them. Blocking.

A record identifies the exact file that it describes (inode, size, time of the last modification). The store never changes a file, it
only puts another one in its place. So a file that is still the same one (its inode), but has other bytes than its record says, is
damaged, and is not served. A record that was lost in a crash, or describes a file that was replaced since, is computed again from the
bytes. Records therefore need neither fsync nor a lock between processes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from pathlib import Path

import msgspec
import structlog

from dyff.kernel import errors
from dyff.objects import tree

log = structlog.get_logger()

_CHUNK_BYTES = 2**20
_RECORD_BYTES = 4096
_REMEDY = "restore it from a backup"


class _Record(msgspec.Struct, frozen=True):
    """What was stored. `md5`: in base64."""

    md5: str
    inode: int
    size_bytes: int
    modified_ns: int


class Digests:
    """The records, by key."""

    def __init__(self, root: Path) -> None:
        self.tree = tree.Tree(root)

    def of(self, key: str, descriptor: int, incoming: Path) -> str:
        """The MD5, in base64, of the open file of `key`; computed and recorded if it is unknown.

        `incoming`: a name for a temporary file, on the same file system.

        Raises:
            Damaged: the file is not what was stored.
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and (record.inode, record.size_bytes, record.modified_ns) == (file.st_ino, file.st_size, file.st_mtime_ns):
            return record.md5
        if record is not None and record.inode == file.st_ino and record.size_bytes != file.st_size:
            raise errors.Damaged(
                f"the object {key!r} is damaged: it has {file.st_size} bytes, and {record.size_bytes} were stored; {_REMEDY}"
            )
        md5 = _computed(descriptor)
        if record is not None and record.md5 != md5:
            if record.inode == file.st_ino:
                raise errors.Damaged(f"the object {key!r} is damaged: its bytes are not those that were stored; {_REMEDY}")
            log.warning("object-replaced", key=key, had=record.md5, has=md5)
        self.remember(key, file, md5, incoming)
        return md5

    def check(self, key: str, descriptor: int, incoming: Path) -> None:
        """Verify that the open file of `key` is what was stored. Reads its bytes only if it was touched since then.

        Raises:
            Damaged: it is not.
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and record.inode == file.st_ino:
            self.of(key, descriptor, incoming)

    def remember(self, key: str, file: os.stat_result, md5: str, incoming: Path) -> None:
        """Record the MD5 of the file that `file` describes. A failure is ignored: it only costs time later."""
        record = _Record(md5, file.st_ino, file.st_size, file.st_mtime_ns)
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


def encoded(digest: bytes) -> str:
    """Encode an MD5 as in the port: base64."""
    return base64.b64encode(digest).decode()


def _computed(descriptor: int) -> str:
    digest, position = hashlib.md5(usedforsecurity=False), 0
    while piece := os.pread(descriptor, _CHUNK_BYTES, position):
        digest.update(piece)
        position += len(piece)
    return encoded(digest.digest())
