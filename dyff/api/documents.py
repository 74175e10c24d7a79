"""Reads entities from the view, and makes sure that an entity that the view does not have really does not exist."""

from __future__ import annotations

import msgspec

from dyff.accounts import grants
from dyff.accounts.authority import Principal
from dyff.api import auth
from dyff.api.positions import Positions
from dyff.api.services import Services
from dyff.entities import codecs, kind, registry, statuses
from dyff.kernel import errors, ids


class Summary(msgspec.Struct, frozen=True):
    """The fields of a document that authorization decisions need."""

    account: str
    status: str
    reason: str | None = None


_SUMMARY = msgspec.json.Decoder(Summary)


def summary(document: bytes) -> Summary:
    """Decode the owner and the status of a document."""
    return _SUMMARY.decode(document)


def is_whole(document: codecs.Json) -> bool:
    """Whether an entity from the view is no stand-in, which lacks fields (`dyff.query.port.stand_in`)."""
    return document.get("reason") != statuses.NOT_SHOWN


def check_whole(document: codecs.Json) -> None:
    """Check that an entity from the view is whole.

    Raises:
        Unavailable: it is a stand-in; its message says why.
    """
    if not is_whole(document):
        raise errors.Unavailable(f"the {document.get('kind')} {document.get('id')} cannot be used now: {document.get('message')}")


class Documents:
    """Reads single entities."""

    def __init__(self, services: Services, positions: Positions) -> None:
        """`positions`: used to find out whether the view has caught up."""
        self._query = services.query
        self._positions = positions

    async def find(self, row: kind.Kind, entity_id: str) -> bytes | None:
        """Return the document, or None if the entity does not exist: the view has then seen everything that the log has about it.

        Raises:
            NotReady: the view does not have it and is behind the log, so it is not known yet whether it exists.
        """
        if not ids.is_id(entity_id):
            return None
        document = await self._query.get(row.plural, entity_id)
        if document is not None:
            return document
        if not await self._positions.reaches_end(entity_id):
            raise errors.NotReady(f"whether there is a {row.name} {entity_id} is not known yet: the view is behind the log; try again")
        return await self._query.get(row.plural, entity_id)

    async def is_forgotten(self, row: kind.Kind, entity_id: str) -> bool:
        """Whether an entity existed and was forgotten, for an ID that `find` did not find."""
        return await self._query.is_forgotten(row.plural, entity_id)

    async def missing(self, principal: Principal, row: kind.Kind, entity_id: str) -> str:
        """The sentence that an entity does not exist, with what its ID is in its place, as far as `principal` may see that."""
        text = f"there is no {row.name} with the ID {entity_id[:64]}"
        if not ids.is_id(entity_id):
            return f"{text}; an ID has 32 hexadecimal digits, and a name or a path cannot be used in its place"
        for other in registry.ROWS:
            found = None if other is row else await self._query.get(other.plural, entity_id)
            if found is not None and grants.allows(principal.grants, other.plural, "get", account=summary(found).account, entity=entity_id):
                return f"{text}; it is the ID of an entity of the kind {other.name}"
        return text

    async def seen(self, principal: Principal, row: kind.Kind, entity_id: str, function: str) -> bytes:
        """Return the document of an entity, after checking that `principal` may use `function` on it.

        Raises:
            NotFound: the entity does not exist; the message names the ID.
            Forbidden: the token does not grant it.
            NotReady: it is not known yet whether it exists.
        """
        auth.require_any(principal, row.plural, function)
        document = await self.find(row, entity_id)
        if document is None:
            raise errors.NotFound(await self.missing(principal, row, entity_id))
        auth.require(principal, row.plural, function, account=summary(document).account, entity=entity_id)
        return document

    async def entity(self, principal: Principal, row: kind.Kind, entity_id: str, function: str) -> codecs.Json:
        """Like `seen`, but decoded.

        Raises:
            Unavailable: the view has only a part of it.
        """
        document = codecs.decode_object(await self.seen(principal, row, entity_id, function))
        check_whole(document)
        return document
