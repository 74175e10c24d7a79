"""Checksums of the embedded query store's rows: SQLite notices a damaged tree, but not a damaged byte in a value. Pure.

A row's checksum is of its collection, version, ID and body, so that it also notices the body of another row. It is checked at every
read.
"""

from __future__ import annotations

import zlib
from typing import Any

READ = "documents.checksum, documents.version, documents.id, CAST(documents.body AS BLOB)"
"""What to select; see `body`."""


def checksum(collection: str, version: int, entity_id: str, body: bytes) -> int:
    """The checksum of a row, as it is stored."""
    return zlib.crc32(body, zlib.crc32(f"{collection} {version} {entity_id}".encode()))


def place_checksum(log: str, partition: int, after: int) -> int:
    """The checksum of a row of positions."""
    return zlib.crc32(f"{log} {partition} {after}".encode())


def body(collection: str, row: tuple[Any, ...]) -> bytes | None:
    """The body in a row of `READ`; None if the row is damaged."""
    expected, version, entity_id, found = row
    try:
        return found if checksum(collection, version, entity_id, found) == expected else None
    except (TypeError, UnicodeError):
        return None
