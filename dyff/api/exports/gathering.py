"""Reads what an entity rests on, with bounds on what one request can cost."""

from __future__ import annotations

from collections import OrderedDict, deque

import anyio

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api.documents import is_whole
from dyff.api.services import Services
from dyff.entities import codecs, kind, registry, statuses
from dyff.entities.exports import evidence
from dyff.kernel import errors
from dyff.objects import hashing, layout, manifests

MAX_MANIFEST_BYTES = 16 * 2**20
"""Limit of a manifest whose digest is computed for an answer. That of a larger one is given where a run, or the store, recorded it."""

AT_ONCE = 2
"""How many requests can read at a time."""

REMEMBERED = 1000
"""The digests of manifests that are kept."""

_SMALL_MANIFEST_BYTES = 256 * 2**10
"""A larger one has too many files to list them."""


class Gathering:
    """Reads for exports of one server."""

    def __init__(self, services: Services) -> None:
        """Nothing is remembered yet."""
        self._query, self._objects = services.query, services.objects
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._digests: OrderedDict[str, str] = OrderedDict()

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
            return await self._manifest_digest(row, entity_id)

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
            if each.id not in digests and (digest := await self._manifest_digest(row, each.id)) is not None:
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

    async def _manifest_digest(self, row: kind.Kind, entity_id: str) -> str | None:
        if entity_id in self._digests:  # it never changes once it is there
            return self._digests[entity_id]
        key = layout.root(row.collection, entity_id) + layout.ARTIFACTS
        info = await self._objects.head(key)
        if info is None or info.sha256 is not None:
            return None if info is None else info.sha256
        if info.size_bytes > MAX_MANIFEST_BYTES:
            return None
        digest = hashing.Hash()
        async for piece in self._objects.stream(key):
            digest.update(piece)
        self._digests[entity_id] = digest.sha256
        while len(self._digests) > REMEMBERED:
            self._digests.popitem(last=False)
        return digest.sha256
