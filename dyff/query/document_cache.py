"""A cache of documents that were read lately, so that what every request refers to is not read from the database every time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

MAX_BYTES = 16 * 2**20
"""Of bodies. The least recently used go."""

Place = tuple[str, str]
"""Collection and ID."""


class DocumentCache:
    """Bodies by place. Code that changes documents does so `without` them here. Used in one event loop."""

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        """`max_bytes`: of all bodies together; a larger one is not kept."""
        self._bodies: OrderedDict[Place, bytes] = OrderedDict()
        self._max_bytes, self._bytes = max_bytes, 0
        self._changing: frozenset[Place] = frozenset()

    def get(self, place: Place) -> bytes | None:
        """The body; None: it is not here."""
        body = self._bodies.get(place)
        if body is not None:
            self._bodies.move_to_end(place)
        return body

    def keep(self, place: Place, body: bytes) -> None:
        """Cache what was read, unless it is being changed."""
        if place in self._changing:
            return
        self.drop([place])
        self._bodies[place] = body
        self._bytes += len(body)
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])

    def drop(self, places: Iterable[Place]) -> None:
        """Forget what may have changed."""
        for place in places:
            self._bytes -= len(self._bodies.pop(place, b""))

    @contextmanager
    def without(self, places: Iterable[Place]) -> Iterator[None]:
        """Forget these, and cache none of them within: when other connections see the change is not known. One at a time."""
        self._changing = frozenset(places)
        self.drop(self._changing)
        try:
            yield
        finally:
            self._changing = frozenset()

    def clear(self) -> None:
        """Forget everything."""
        self._bodies.clear()
        self._bytes = 0
