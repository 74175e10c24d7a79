"""Entities as the view has them, and the truth about those that it does not have."""

from __future__ import annotations

import msgspec

from dyff.accounts.authority import Principal
from dyff.api import auth
from dyff.api.positions import Positions
from dyff.api.services import Services
from dyff.entities import codecs, kind
from dyff.kernel import errors, ids


class Summary(msgspec.Struct, frozen=True):
    """What is needed of a document to decide about it."""

    account: str
    status: str


_SUMMARY = msgspec.json.Decoder(Summary)


def summary(document: bytes) -> Summary:
    """The owner and the status of a document."""
    return _SUMMARY.decode(document)


class Documents:
    """Reads single entities."""

    def __init__(self, services: Services, positions: Positions) -> None:
        """`positions`: to find out whether the view has seen all."""
        self._query = services.query
        self._positions = positions

    async def find(self, row: kind.Kind, entity_id: str) -> bytes | None:
        """The document; None: there is truly none, since the view has seen all that the log has about it.

        Raises:
            NotReady: the view does not have it and is behind the log, so nobody can tell yet.
        """
        if not ids.is_id(entity_id):
            return None
        document = await self._query.get(row.plural, entity_id)
        if document is not None:
            return document
        if not await self._positions.reaches_end(entity_id):
            raise errors.NotReady(f"whether there is a {row.name} {entity_id} cannot be told yet: the view is behind the log; try again")
        return await self._query.get(row.plural, entity_id)

    async def seen(self, principal: Principal, row: kind.Kind, entity_id: str, function: str) -> bytes:
        """The document of an entity that `principal` may do `function` with.

        Raises:
            NotFound: there is no such entity; the message names the ID.
            Forbidden: the token does not grant it.
            NotReady: nobody can tell yet.
        """
        auth.require_any(principal, row.plural, function)
        document = await self.find(row, entity_id)
        if document is None:
            raise errors.NotFound(f"there is no {row.name} with the ID {entity_id[:64]}")
        auth.require(principal, row.plural, function, account=summary(document).account, entity=entity_id)
        return document

    async def entity(self, principal: Principal, row: kind.Kind, entity_id: str, function: str) -> codecs.Json:
        """Like `seen`, decoded."""
        return codecs.decode_object(await self.seen(principal, row, entity_id, function))
