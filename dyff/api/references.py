"""Resolves the references of a request: checks that the entities exist, are usable and may be used, and embeds them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import auth
from dyff.api.documents import Documents, check_whole, is_whole
from dyff.entities import codecs, identity, kind, registry, statuses
from dyff.kernel import errors

CACHE_MAX_BYTES = 32 * 2**20
_UNUSABLE = statuses.FAILURE | {statuses.TERMINATED, statuses.DELETED}


class Known(msgspec.Struct, frozen=True):
    """A referenced entity. `document`: the source of the other fields. `embedded`: JSON; None if its kind is not embedded.

    `partial`: what there is of it, if the view has only a part; otherwise None.
    """

    document: bytes
    account: str
    status: str
    embedded: msgspec.Raw | None
    partial: codecs.Json | None = None


class References:
    """Resolves references. The embedded form of an entity is computed once for each version of its document, as long as it is cached."""

    def __init__(self, documents: Documents) -> None:
        """The cache starts empty."""
        self._documents = documents
        self._cache: OrderedDict[str, Known] = OrderedDict()
        self._cached_bytes = 0

    async def resolve(self, principal: Principal, references: Iterable[identity.Reference]) -> identity.Embedded:
        """Return the embedded form of each referenced entity, by ID. Kinds that are not embedded are left out.

        Raises:
            NotFound: one does not exist; the message has its ID and its field.
            Forbidden: the token does not grant `consume` on one.
            Conflict: one has failed, was terminated or was deleted.
            InvalidFields: one is of a kind that cannot be referred to.
            NotReady: the view is behind the log, so it is not known yet whether one exists.
            Unavailable: the view has only a part of one.
        """
        embedded: identity.Embedded = {}
        for reference in references:
            known = await self._usable(principal, reference)
            if known.embedded is not None:
                embedded[reference.id] = known.embedded
        return embedded

    async def wholes(self, principal: Principal, wanted: Iterable[tuple[str, str]]) -> identity.Embedded:
        """Return whole entities by `identity.whole`. `wanted`: their kinds and IDs. What the token does not grant `get` on is left out.

        Raises:
            NotReady: the view is behind the log.
        """
        found: identity.Embedded = {}
        for name, entity_id in wanted:
            row = registry.BY_KIND[name]
            document = await self._documents.find(row, entity_id)
            if document is None:
                continue
            entity = codecs.decode_object(document)
            if is_whole(entity) and grants.allows(principal.grants, row.plural, "get", account=entity["account"], entity=entity_id):
                found[identity.whole(entity_id)] = entity
        return found

    async def _usable(self, principal: Principal, reference: identity.Reference) -> Known:
        row = registry.BY_KIND.get(reference.kind)
        if row is None:
            kinds = ", ".join(registry.BY_KIND)
            text = f"the kind {reference.kind} cannot be referred to here: this server has {kinds}"
            end = f"; {reference.otherwise}" if reference.otherwise else ""
            raise errors.InvalidFields(errors.Problem((*reference.loc, "kind"), text + end))
        field = ".".join(map(str, reference.loc[1:]))
        auth.require_any(principal, row.plural, "consume")
        document = await self._documents.find(row, reference.id)
        if document is None:
            raise errors.NotFound(f"{field}: {await self._documents.missing(principal, row, reference.id)}")
        known = self._known(reference.id, row, document)
        auth.require(principal, row.plural, "consume", account=known.account, entity=reference.id)
        if known.status in _UNUSABLE:
            raise errors.Conflict(f"{field}: the {row.name} {reference.id} cannot be used: its status is {known.status}")
        if known.partial is not None:
            check_whole(known.partial)
        return known

    def _known(self, entity_id: str, row: kind.Kind, document: bytes) -> Known:
        known = self._cache.get(entity_id)
        if known is not None and known.document == document:
            self._cache.move_to_end(entity_id)
            return known
        entity = codecs.decode_object(document)
        if not is_whole(entity):
            return Known(document, entity["account"], entity["status"], None, entity)
        embedded = msgspec.Raw(codecs.encode(row.foreign(entity))) if row.embedded else None
        known = Known(document, entity["account"], entity["status"], embedded)
        self._remember(entity_id, known)
        return known

    def _remember(self, entity_id: str, known: Known) -> None:
        replaced = self._cache.pop(entity_id, None)
        self._cached_bytes += _size(known) - (_size(replaced) if replaced else 0)
        self._cache[entity_id] = known
        while self._cached_bytes > CACHE_MAX_BYTES:
            _, oldest = self._cache.popitem(last=False)
            self._cached_bytes -= _size(oldest)


def size_bytes(embedded: identity.Embedded) -> int:
    """The size of embedded entities together, as far as they are not decoded yet."""
    return sum(memoryview(each).nbytes for each in embedded.values() if isinstance(each, msgspec.Raw))


def _size(known: Known) -> int:
    return len(known.document) + (len(bytes(known.embedded)) if known.embedded is not None else 0)
