"""A cache of recently read documents, so that documents that every request refers to are not read from the database every time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_BYTES = 16 * 2**20
"""Limit of the cached bodies. The least recently used are evicted."""

Place = tuple[str, str]
"""Collection and ID."""


class DocumentCache:
    """Bodies by place. Code that changes documents must do so inside `without`. Used in one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes`: limit of all bodies together; a larger body is not cached."""
        self._bodies: OrderedDict[Place, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._changing: frozenset[Place] = frozenset()

    def get(self, place: Place) -> bytes | None:
        """The body; None if it is not cached."""
        body = self._bodies.get(place)
        if body is not None:
            self._bodies.move_to_end(place)
        return body

    def keep(self, place: Place, body: bytes) -> None:
        """Cache a document that was read, unless it is being changed."""
        if place in self._changing:
            return
        self.drop([place])
        self._bodies[place] = body
        self._bytes += len(body)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])

    def drop(self, places: Iterable[Place]) -> None:
        """Evict documents that may have changed."""
        for place in places:
            self._bytes -= len(self._bodies.pop(place, b""))

    @contextmanager
    def without(self, places: Iterable[Place]) -> Iterator[None]:
        """Evict these, and cache none of them inside the context, since other connections see the change at an unknown time.
        One at a time.
        """
        self._changing = frozenset(places)
        self.drop(self._changing)
        try:
            yield
        finally:
            self._changing = frozenset()

    def clear(self) -> None:
        """Evict everything."""
        self._bodies.clear()
        self._bytes = 0
