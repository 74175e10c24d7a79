"""The releases of Dyff that verified the outputs of evaluations, as their manifests record them."""

from __future__ import annotations

from collections import OrderedDict

from dyff.entities import codecs, kind
from dyff.kernel import errors
from dyff.objects import layout, manifests, port

MAX_BYTES = 4 * 2**20
"""Limit of a manifest that is read for its release: that of some ten thousand files."""

REMEMBERED = 1000
"""The releases that are kept."""


class Releases:
    """Reads manifests of a store. One never changes once it is there, so each is read once."""

    def __init__(self, objects: port.Objects) -> None:
        """Nothing is remembered yet."""
        self._objects = objects
        self._known: OrderedDict[str, codecs.Json | None] = OrderedDict()

    async def of(self, row: kind.Kind, entity_id: str) -> codecs.Json | None:
        """`name`, `version` and `commit`; None if there is no manifest (yet, or any more), it has none, or it is too large.

        Raises:
            Unavailable: the store does not answer.
        """
        if entity_id in self._known:
            return self._known[entity_id]
        root = layout.root(row.collection, entity_id)
        info = await self._objects.head(root + layout.ARTIFACTS)
        if info is None or info.size_bytes > MAX_BYTES:
            return None
        try:
            manifest = await manifests.read(self._objects, root)
        except errors.Misconfigured as error:  # it was checked before it was stored
            raise errors.Damaged(f"{error.message}; restore it from a backup") from error
        if manifest is None:  # deleted in between
            return None
        platform = (manifest.source or {}).get("platform")
        self._known[entity_id] = found = platform if isinstance(platform, dict) else None
        while len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return found
