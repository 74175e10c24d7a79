"""The last bytes of a Parquet file: whether there can be a footer, and how long it is. Pure. The server imports it, and not Arrow."""

from __future__ import annotations

MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
END_BYTES = 8
"""The length of the footer, and `MAGIC`."""

MAX_FOOTER_BYTES = 16 * 2**20


def length(tail: bytes) -> int:
    """Return the length of a footer, its last eight bytes included. `tail`: the end of the file."""
    return int.from_bytes(tail[-END_BYTES:-4], "little") + END_BYTES


def problem(tail: bytes, length: int, size: int) -> str | None:
    """What is wrong with the end of a file of `size` bytes; None if nothing is. `length`: bytes of the footer, its last eight included."""
    if size == 0:
        return "is not a Parquet file: it has no bytes"
    if tail[-4:] == _ENCRYPTED:
        return "is an encrypted Parquet file, which cannot be read here"
    if len(tail) < END_BYTES or tail[-4:] != MAGIC:
        return "is not a Parquet file, or not the whole of one"
    if length > size:
        return "is a damaged Parquet file"
    return f"has a footer of {length} bytes, more than {MAX_FOOTER_BYTES}; write fewer row groups" if length > MAX_FOOTER_BYTES else None
