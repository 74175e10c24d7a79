"""Reads what an entity rests on, for its page and for exports, with bounds on what one request can cost."""

from __future__ import annotations

from collections import deque

import anyio

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import releases
from dyff.api.documents import is_whole
from dyff.api.manifest_digests import ManifestDigests
from dyff.entities import codecs, kind, labels, registry, statuses
from dyff.entities.exports import evidence
from dyff.kernel import errors
from dyff.objects import layout, manifests, port
from dyff.query.port import QueryReader

AT_ONCE = 2
"""How many requests can read at a time."""

_SMALL_MANIFEST_BYTES = 256 * 2**10
"""A larger one has too many files to list them."""


class Evidence:
    """Reads for the pages and exports of one server."""

    def __init__(self, query: QueryReader, objects: port.Objects, digests: ManifestDigests) -> None:
        """`digests`: of what is in `objects`."""
        self._query, self._objects, self._digests = query, objects, digests
        self._releases = releases.Releases(objects)
        self._limiter = anyio.CapacityLimiter(AT_ONCE)

    async def gathered(self, root: codecs.Json, principal: Principal | None, *, files: bool = True) -> evidence.Gathered:
        """What `root` rests on, and what of it the reader may see. `principal`: the reader; None for everybody.

        What an entity rests on that the reader may not see is read only for a kind with a page, which names it. `files`: whether lists of
        files are wanted.

        Raises:
            Unavailable: the database or the store does not answer.
        """
        async with self._limiter:
            return await self._gathered(root, principal, files)

    async def manifest_digest(self, row: kind.Kind, entity_id: str) -> str | None:
        """The SHA-256, in hex, of the manifest of an entity's data as it is stored, as runs record it.

        None if there is none, or it is too large.
        """
        async with self._limiter:
            return await self._digests.of(row, entity_id)

    async def _gathered(self, root: codecs.Json, principal: Principal | None, with_files: bool) -> evidence.Gathered:
        named: dict[str, evidence.Named] = {}
        entities: dict[str, codecs.Json] = {}
        readable: set[str] = set()
        digests = evidence.recorded(root)
        waiting = deque((each, 1) for each in evidence.names(root))
        is_all, has_page = True, registry.BY_KIND[root["kind"]].page is not None
        while waiting:
            each, depth = waiting.popleft()
            if each.id in named or each.id == root["id"] or each.kind not in registry.BY_KIND:
                continue
            if len(named) == evidence.MAX_ENTITIES or depth > evidence.MAX_DEPTH:
                is_all = False
                continue
            named[each.id] = each
            entity = await self._entity(each)
            if entity is None:
                continue
            if may_read(principal, entity):
                readable.add(each.id)
            elif not has_page:
                continue
            entities[each.id] = entity
            digests = {**evidence.recorded(entity), **digests}
            waiting += [(further, depth + 1) for further in evidence.names(entity)]
        files: dict[str, tuple[evidence.File, ...]] = {}
        platforms: dict[str, codecs.Json] = {}
        for each in (evidence.Named(root["kind"], root["id"]), *named.values()):
            row, entity = registry.BY_KIND[each.kind], root if each.id == root["id"] else entities.get(each.id)
            if row.download is None or (entity is not None and entity["status"] == statuses.DELETED):
                continue
            if each.id not in digests and (digest := await self._digests.of(row, each.id)) is not None:
                digests[each.id] = digest
            if with_files and (each.id in readable or each.id == root["id"]) and (listed := await self._files(row, each.id)):
                files[each.id] = listed
            if _is_evaluated(row) and (platform := await self._releases.of(row, each.id)) is not None:
                platforms[each.id] = platform
        return evidence.Gathered(root, tuple(named.values()), entities, frozenset(readable), digests, files, platforms, is_all)

    async def _entity(self, named: evidence.Named) -> codecs.Json | None:
        document = await self._query.get(registry.BY_KIND[named.kind].plural, named.id)
        entity = None if document is None else codecs.decode_object(document)
        return entity if entity is not None and is_whole(entity) else None

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


def may_read(principal: Principal | None, entity: codecs.Json) -> bool:
    """Whether a reader may see an entity: everybody may see what is published, until it is deleted. `principal`: None for everybody."""
    if is_public(entity):
        return True
    if principal is None:
        return False
    plural = registry.BY_KIND[entity["kind"]].plural
    return grants.allows(principal.grants, plural, "get", account=entity["account"], entity=entity["id"])


def is_public(entity: codecs.Json) -> bool:
    """Whether everybody may see an entity."""
    return labels.access(entity) == labels.PUBLIC and entity.get("status") != statuses.DELETED


def _is_evaluated(row: kind.Kind) -> bool:
    """Whether a run of this kind has outputs in a manifest that records the release. Analyses have it in the entity (`environment`)."""
    return row.run is not None and row.run.results is None
