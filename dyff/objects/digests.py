"""The local store's cache of its objects' MD5s, in a tree of its own next to them. Blocking.

The cache repairs itself. A record identifies the exact file that it describes (inode, size, time of the last modification), so
one that was lost in a crash, or belongs to a file that was since replaced or edited, is detected, and the digest is
computed again from the bytes. Records therefore need neither fsync nor a lock between processes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
from pathlib import Path

import msgspec

from dyff.kernel import errors
from dyff.objects import tree

_CHUNK_BYTES = 2**20
_RECORD_BYTES = 4096


class _Record(msgspec.Struct, frozen=True):
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
        """
        file = os.fstat(descriptor)
        record = self._read(key)
        if record is not None and (record.inode, record.size_bytes, record.modified_ns) == (file.st_ino, file.st_size, file.st_mtime_ns):
            return record.md5
        md5 = _computed(descriptor)
        self.remember(key, file, md5, incoming)
        return md5

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
