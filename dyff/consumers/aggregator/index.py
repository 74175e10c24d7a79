"""Index of the newest state of each entity of a partition, with 32 bytes per entity.

Entries are stored in byte buckets by a digest of their key, without a Python object for each. A collision of the 128-bit digests
is negligible, and readers of a state check its key.
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
    """Location of an entity's newest state. `source`: offset of its last event. `offset`: of the record on the state topic."""

    source: int
    offset: int


class Index:
    """Maps keys to the location of their newest state."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(BUCKETS)]
        self._bytes = 0
        self._changed: dict[bytes, None] = {}

    def __len__(self) -> int:
        return self._bytes // ENTRY_BYTES

    def get(self, key: bytes) -> Newest | None:
        """The newest state of an entity; None if the entity does not exist."""
        bucket, at = self._found(hashlib.blake2b(key, digest_size=_DIGEST).digest())
        return None if at < 0 else Newest(*_PLACE.unpack_from(bucket, at + _DIGEST))

    def put(self, key: bytes, source: int, offset: int) -> bool:
        """Record the newest state of an entity. Returns False, without a change, if a newer one is known."""
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
        """Number of entities that have changed since the last `take_changes` or `dumped`."""
        return len(self._changed)

    def take_changes(self) -> bytes:
        """The entries that were put since the last call, in the form that `apply` accepts."""
        found = bytearray()
        for digest in self._changed:
            bucket, at = self._found(digest)
            found += bucket[at : at + ENTRY_BYTES]
        self._changed.clear()
        return bytes(found)

    def apply(self, entries: bytes) -> None:
        """Apply the result of `take_changes`.

        Raises:
            ValueError: the bytes do not have that form.
        """
        if len(entries) % ENTRY_BYTES:
            raise ValueError("not a whole number of entries")
        for at in range(0, len(entries), ENTRY_BYTES):
            self._put(entries[at : at + _DIGEST], entries[at + _DIGEST : at + ENTRY_BYTES])

    def dumped(self, size: int) -> Iterator[bytes]:
        """All entries, in pieces of about `size` bytes, in the form that `loaded` accepts."""
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
        """An index from the result of `dumped`.

        Raises:
            ValueError: the pieces do not have that form.
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
        """The bucket of an entry, and its position in it; -1 if there is no such entry."""
        bucket = self._buckets[(digest[0] << 6) | (digest[1] >> 2)]
        at = bucket.find(digest)
        while at % ENTRY_BYTES and at > 0:  # the digest's bytes can occur by chance across entries
            at = bucket.find(digest, at + 1)
        return bucket, at
