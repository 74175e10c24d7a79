"""Reads what an entity rests on, with bounds on what one request can cost."""

from __future__ import annotations

from collections import deque

import anyio

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api.context import Context
from dyff.api.documents import is_whole
from dyff.entities import codecs, kind, registry, statuses
from dyff.entities.exports import evidence
from dyff.kernel import errors
from dyff.objects import layout, manifests

AT_ONCE = 2
"""How many requests can read at a time."""

_SMALL_MANIFEST_BYTES = 256 * 2**10
"""A larger one has too many files to list them."""


class Gathering:
    """Reads for exports of one server."""

    def __init__(self, context: Context) -> None:
        """`context`: of the server."""
        self._query, self._objects, self._digests = context.services.query, context.services.objects, context.digests
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def gathered(self, root: codecs.Json, principal: Principal) -> evidence.Gathered:
        """What `root` rests on, as far as `principal` may see it.

        An entity that the caller may not see is named, since `root`, or something else that the caller may see, names it; what it names
        itself is not looked at.
        """
        async with self._limiter:
            return await self._gathered(root, principal)

    async def manifest_digest(self, row: kind.Kind, entity_id: str) -> str | None:
        """The SHA-256, in hex, of the manifest of an entity's data as it is stored, as runs record it.

        None if there is none, or it is too large.
        """
        async with self._limiter:
            return await self._digests.of(row, entity_id)

    async def _gathered(self, root: codecs.Json, principal: Principal) -> evidence.Gathered:
        named: dict[str, evidence.Named] = {}
        entities: dict[str, codecs.Json] = {}
        digests = evidence.recorded(root)
        waiting = deque((each, 1) for each in evidence.names(root))
        is_all = True
        while waiting:
            each, depth = waiting.popleft()
            if each.id in named or each.id == root["id"] or each.kind not in registry.BY_KIND:
                continue
            if len(named) == evidence.MAX_ENTITIES or depth > evidence.MAX_DEPTH:
                is_all = False
                continue
            named[each.id] = each
            entity = await self._visible(each, principal)
            if entity is not None:
                entities[each.id] = entity
                digests = {**evidence.recorded(entity), **digests}
                waiting += [(further, depth + 1) for further in evidence.names(entity)]
        files: dict[str, tuple[evidence.File, ...]] = {}
        for each in (evidence.Named(root["kind"], root["id"]), *named.values()):
            row, entity = registry.BY_KIND[each.kind], root if each.id == root["id"] else entities.get(each.id)
            if row.download is None or (entity is not None and entity["status"] == statuses.DELETED):
                continue
            if each.id not in digests and (digest := await self._digests.of(row, each.id)) is not None:
                digests[each.id] = digest
            if entity is not None:
                files[each.id] = await self._files(row, each.id)
        return evidence.Gathered(root, tuple(named.values()), entities, digests, {key: each for key, each in files.items() if each}, is_all)

    async def _visible(self, named: evidence.Named, principal: Principal) -> codecs.Json | None:
        row = registry.BY_KIND[named.kind]
        document = await self._query.get(row.plural, named.id)
        entity = None if document is None else codecs.decode_object(document)
        if entity is None or not is_whole(entity):
            return None
        allowed = grants.allows(principal.grants, row.plural, "get", account=entity["account"], entity=named.id)
        return entity if allowed else None

    async def _files(self, row: kind.Kind, entity_id: str) -> tuple[evidence.File, ...]:
        """The files of an entity; empty if there are none, or too many to list them."""
        root = layout.root(row.collection, entity_id)
        info = await self._objects.head(root + layout.ARTIFACTS)
        if info is None or info.size_bytes > _SMALL_MANIFEST_BYTES:
            return ()
        try:
            found = await manifests.read(self._objects, root)
        except errors.Misconfigured as error:  # it was checked before it was stored
            raise errors.Damaged(f"{error.message}; restore it from a backup") from error
        if found is None or len(found.artifacts) > evidence.MAX_FILES:
            return ()
        return tuple(evidence.File(each.path, each.size, each.digest.get("sha256")) for each in found.artifacts)
