"""Where the newest state of each entity of a partition is, in 32 bytes for each.

Entities lie in buckets of bytes, by a digest of their key, without an object of Python for any of them. Two keys with one digest
of 128 bits are not to be feared; who reads the state sees its key.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Iterator

import msgspec

BUCKETS = 2**14

_DIGEST = 16
_PLACE = struct.Struct("<QQ")
_LENGTH = struct.Struct("<I")
ENTRY_BYTES = _DIGEST + _PLACE.size


class Newest(msgspec.Struct, frozen=True, gc=False):
    """Where an entity's newest state is. `source`: offset of its last event. `offset`: of the record on the state topic."""

    source: int
    offset: int


class Index:
    """By key the newest state."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(BUCKETS)]
        self._bytes = 0
        self._changed: dict[bytes, None] = {}

    def __len__(self) -> int:
        return self._bytes // ENTRY_BYTES

    def get(self, key: bytes) -> Newest | None:
        """None: there is no such entity."""
        bucket, at = self._found(hashlib.blake2b(key, digest_size=_DIGEST).digest())
        return None if at < 0 else Newest(*_PLACE.unpack_from(bucket, at + _DIGEST))

    def put(self, key: bytes, source: int, offset: int) -> bool:
        """The newest state of an entity is there; False: a newer one is known, and stays."""
        digest = hashlib.blake2b(key, digest_size=_DIGEST).digest()
        bucket, at = self._found(digest)
        if at < 0:
            bucket += digest + _PLACE.pack(source, offset)
            self._bytes += ENTRY_BYTES
        else:
            known, _ = _PLACE.unpack_from(bucket, at + _DIGEST)
            if source < known:
                return False
            _PLACE.pack_into(bucket, at + _DIGEST, source, offset)
        self._changed[digest] = None
        return True

    @property
    def changes(self) -> int:
        """How many entities have changed since `take_changes`."""
        return len(self._changed)

    def take_changes(self) -> bytes:
        """The entries that were put since the last call, as `apply` takes them."""
        found = bytearray()
        for digest in self._changed:
            bucket, at = self._found(digest)
            found += bucket[at : at + ENTRY_BYTES]
        self._changed.clear()
        return bytes(found)

    def apply(self, entries: bytes) -> None:
        """Put what `take_changes` gave.

        Raises:
            ValueError: it is no such thing.
        """
        if len(entries) % ENTRY_BYTES:
            raise ValueError("not a whole number of entries")
        for at in range(0, len(entries), ENTRY_BYTES):
            self._put(entries[at : at + _DIGEST], entries[at + _DIGEST : at + ENTRY_BYTES])

    def dumped(self, size: int) -> Iterator[bytes]:
        """All entries, in pieces of about `size` bytes, as `load` takes them."""
        self._changed.clear()
        piece = bytearray()
        for bucket in self._buckets:
            piece += _LENGTH.pack(len(bucket))
            piece += bucket
            if len(piece) >= size:
                yield bytes(piece)
                piece.clear()
        yield bytes(piece)

    @classmethod
    def loaded(cls, pieces: Iterable[bytes]) -> Index:
        """What `dumped` gave.

        Raises:
            ValueError: it is no such thing.
        """
        index, number = cls(), 0
        for piece in pieces:
            at = 0
            while at < len(piece):
                if number == BUCKETS or at + _LENGTH.size > len(piece):
                    raise ValueError("not the pieces of an index")
                (length,) = _LENGTH.unpack_from(piece, at)
                at += _LENGTH.size
                if length % ENTRY_BYTES or at + length > len(piece):
                    raise ValueError("not the pieces of an index")
                index._buckets[number] += piece[at : at + length]
                index._bytes += length
                number, at = number + 1, at + length
        if number != BUCKETS:
            raise ValueError("an index with pieces missing")
        return index

    def _put(self, digest: bytes, place: bytes) -> None:
        bucket, at = self._found(digest)
        if at < 0:
            bucket += digest
            bucket += place
            self._bytes += ENTRY_BYTES
        else:
            bucket[at + _DIGEST : at + ENTRY_BYTES] = place

    def _found(self, digest: bytes) -> tuple[bytearray, int]:
        """The bucket of an entry, and where it is; below 0: it is not there."""
        bucket = self._buckets[(digest[0] << 6) | (digest[1] >> 2)]
        at = bucket.find(digest)
        while at % ENTRY_BYTES and at > 0:  # the digest's bytes may be there by chance, across entries
            at = bucket.find(digest, at + 1)
        return bucket, at
