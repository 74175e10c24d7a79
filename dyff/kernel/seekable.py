"""Files that are read by ranges: what a reader of Parquet asks of them besides the bytes."""

from __future__ import annotations

import io


class Ranged(io.RawIOBase):
    """A file of a known size, which can be read from any place. Its bytes are what a subclass has in `read`."""

    def __init__(self, size_bytes: int) -> None:
        """At its beginning."""
        self._size_bytes = size_bytes
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def tell(self) -> int:
        """The place of the next byte."""
        return self._position

    def size(self) -> int:
        """In bytes."""
        return self._size_bytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place, at least 0, and return it."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size_bytes}[whence]
        self._position = max(0, base + offset)
        return self._position
