"""The digests of manifests: one of them identifies all that is stored of an entity, as runs record it."""

from __future__ import annotations

from collections import OrderedDict

from dyff.entities import kind
from dyff.kernel import errors
from dyff.objects import hashing, layout, port

MAX_BYTES = 16 * 2**20
"""Limit of a manifest that is read for its digest. That of a larger one is given where a run, or the store, recorded it."""

REMEMBERED = 1000
"""The digests that are kept."""


class ManifestDigests:
    """Digests of the manifests in a store. One never changes once it is there, so each is read once."""

    def __init__(self, objects: port.Objects) -> None:
        """Nothing is remembered yet."""
        self._objects = objects
        self._known: OrderedDict[str, str] = OrderedDict()

    async def of(self, row: kind.Kind, entity_id: str) -> str | None:
        """The SHA-256 in hex; None if there is no manifest (yet, or any more), or it is too large.

        Raises:
            Unavailable: the store does not answer.
        """
        if row.download is None:
            return None
        if entity_id in self._known:
            return self._known[entity_id]
        key = layout.root(row.collection, entity_id) + layout.ARTIFACTS
        info = await self._objects.head(key)
        if info is None or info.sha256 is not None:
            return None if info is None else info.sha256
        if info.size_bytes > MAX_BYTES:
            return None
        digest = hashing.Hash()
        try:
            async for piece in self._objects.stream(key):
                digest.update(piece)
        except errors.NotFound:  # deleted in between
            return None
        self._known[entity_id] = digest.sha256
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return digest.sha256
