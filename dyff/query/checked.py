"""Checksums of the embedded query store's rows: SQLite notices a damaged tree, but not a damaged byte in a value. Pure.

A row's checksum is of its collection, version, ID and body, so that it also notices the body of another row. It is checked at every
read. Rows are checked many at a time, without a step of Python for each: SQLite prepares what the checksum is of.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

APART_BYTES = 16 * 2**10
"""A larger body is not in a row of `columns`, which has its size instead: many rows may be held at the same time."""

ONE = "documents.checksum, documents.version, documents.id, CAST(documents.body AS BLOB)"
"""What to select to read one document, of any size; see `body`."""


def columns(collection: str, *, known: bool) -> str:
    """What to select to read many documents; see `bodies`. `known`: the collection is one of ours, whose names need no quotation."""
    name = f"'{collection} '" if known else "documents.collection || ' '"
    place = f"CAST({name} || documents.version || ' ' || documents.id AS BLOB)"
    size = "octet_length(documents.body)"
    return f"documents.checksum, {place}, CASE WHEN {size} <= {APART_BYTES} THEN CAST(documents.body AS BLOB) ELSE {size} END"


def checksum(collection: str, version: int, entity_id: str, body: bytes) -> int:
    """The checksum of a row, as it is stored."""
    return zlib.crc32(body, zlib.crc32(f"{collection} {version} {entity_id}".encode()))


def place_checksum(log: str, partition: int, after: int) -> int:
    """The checksum of a row of positions."""
    return zlib.crc32(f"{log} {partition} {after}".encode())


def body(collection: str, row: tuple[Any, ...]) -> bytes | None:
    """The body in a row of `ONE`; None if the row is damaged."""
    expected, version, entity_id, found = row
    try:
        return found if checksum(collection, version, entity_id, found) == expected else None
    except (TypeError, UnicodeError):
        return None


def bodies(collection: str, rows: Sequence[tuple[Any, ...]]) -> list[bytes | str] | None:
    """The bodies in rows of `columns`, in order; None if a row is damaged. A body that is larger than `APART_BYTES` must be read on its
    own: in its place is the ID of the document.
    """
    if not rows:
        return []
    sums, places, found = zip(*rows, strict=True)
    try:
        if tuple(map(zlib.crc32, found, map(zlib.crc32, places))) == sums:
            return list(found)
    except TypeError:  # a size, or damage
        return _one_by_one(collection, rows)
    return None


def apart_bytes(rows: Sequence[tuple[Any, ...]]) -> int:
    """The size of the bodies that are not in these rows of `columns`."""
    return sum(each[2] for each in rows if type(each[2]) is int)


def _one_by_one(collection: str, rows: Sequence[tuple[Any, ...]]) -> list[bytes | str] | None:
    sound: list[bytes | str] = []
    prefix = len(collection.encode()) + 1
    for expected, place, found in rows:
        if type(place) is not bytes:
            return None
        if type(found) is bytes and zlib.crc32(found, zlib.crc32(place)) == expected:
            sound.append(found)
        elif type(found) is int:
            sound.append(place[prefix:].partition(b" ")[2].decode(errors="replace"))
        else:
            return None
    return sound
