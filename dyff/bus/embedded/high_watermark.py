"""The log's high watermark: the number of acknowledged records, kept outside the database as evidence.

SQLite recovers from a WAL file that lost its end by silently dropping the last transactions. So after each commit, and
before it is acknowledged, the number of records ever appended is written to a file of 12 bytes next to the log. It is not
synced: after `kill -9` it is exact; after power loss it can be behind, but it never claims more than was durable.
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

_COUNT = struct.Struct("<Q")
_SUM = struct.Struct("<I")


class HighWatermark:
    """The watermark file. Only the writer thread uses it once the log is open."""

    def __init__(self, path: Path) -> None:
        """`path`: created if it is missing."""
        self.path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def read(self) -> int:
        """The least number of records that the log must have seen; 0 if unknown (a new or a torn file)."""
        return _count(os.pread(self._file, _COUNT.size + _SUM.size, 0))

    def write(self, count: int) -> None:
        """Record that `count` records were appended since the log was created."""
        data = _COUNT.pack(count)
        os.pwrite(self._file, data + _SUM.pack(zlib.crc32(data)), 0)

    def close(self) -> None:
        """Close the file descriptor."""
        os.close(self._file)


def acknowledged(path: Path) -> int:
    """The watermark in the file `path`, for a process that only reads; 0 if unknown."""
    try:
        return _count(path.read_bytes())
    except FileNotFoundError:
        return 0


def _count(data: bytes) -> int:
    count = data[: _COUNT.size]
    whole = len(data) == _COUNT.size + _SUM.size and _SUM.unpack(data[_COUNT.size :])[0] == zlib.crc32(count)
    return int(_COUNT.unpack(count)[0]) if whole else 0
