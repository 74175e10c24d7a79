"""The query store: documents, and their position in the log.

Only the sink writes. A view is eventually consistent with the log; `Reached` is its position.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from types import MappingProxyType
from typing import Protocol

import msgspec

from dyff.entities import codecs, statuses
from dyff.query import filters

BATCH_BYTES = 2**20
"""A batch of a find is complete when it has this many bytes; its last document may be larger than what was missing."""


class Document(msgspec.Struct, frozen=True):
    """A version of an entity for the view.

    `version`: the source offset of the folded state: an older version never replaces a newer one. `body`: the entity as
    JSON bytes; None if it is forgotten, which leaves a hidden tombstone with its version.
    """

    collection: str
    id: str
    version: int
    body: bytes | None


class Reached(msgspec.Struct, frozen=True):
    """The position of a view, by partition: the next offset of the state log to read (`state`), and the next offset of the
    events log that is not included yet (`events`). `epoch`: the state log's epoch; None if nothing was applied yet. `again`: the offset
    of the state log from which a sink that starts reads again, since of a document after it only a part could be stored.
    """

    epoch: str | None = None
    state: dict[int, int] = {}
    events: dict[int, int] = {}
    again: dict[int, int] = {}


class Usage(msgspec.Struct, frozen=True):
    """What an account keeps: the number of its entities, their size as JSON, and what the object store holds of them, in bytes.

    It is that of the documents in the view (`dyff.entities.storage`). Forgotten entities are not in it, nor what only
    stays of a removed one; deleted ones are.
    """

    entities: int = 0
    document_bytes: int = 0
    object_bytes: int = 0


_SHOWN_CHARS = 1000
"""Longer values are left out of a stand-in."""


def stand_in(document: Document, reason: str) -> Document:
    """What is stored of a document that the database rejects: its short simple fields, among them the status, and why.

    `reason`: what the database says. Without `reason` and `message` of its own, so that its reader knows that it is not whole.
    """
    if document.body is None:
        return document
    kept = {key: each for key, each in codecs.decode_object(document.body).items() if _is_short(each)}
    text = f"The view cannot store this entity, so only a part of it is shown: {reason}. In the log it is whole."
    body = codecs.encode({**kept, "reason": statuses.NOT_SHOWN, "message": text})
    return msgspec.structs.replace(document, body=body)


def _is_short(value: object) -> bool:
    return value is None or isinstance(value, bool | float) or (isinstance(value, str) and len(value) <= _SHOWN_CHARS)


class Scanned(msgspec.Struct, frozen=True):
    """A document as stored. `sound`: the body is the one that was written, and agrees with the fields that queries use."""

    document: Document
    sound: bool


class QueryReader(Protocol):
    """The operations of the API."""

    async def get(self, collection: str, entity_id: str) -> bytes | None:
        """The entity as JSON bytes; None if the view does not have it (yet).

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    async def is_forgotten(self, collection: str, entity_id: str) -> bool:
        """Whether the view has a tombstone of the entity: it existed and was forgotten. False if the view never had it (yet).

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    def find(self, query: filters.Find) -> AsyncGenerator[list[bytes], None]:
        """All matching documents, as JSON bytes, in batches (`BATCH_BYTES`) none of which is empty; close it if not at its end.

        Memory does not depend on the number of documents. Each document is whole, and in a state that it had since the call; whether
        all are of the same moment depends on the adapter. Reaching the end means that none is missing.
        With `fields`, batches are of what is left of the documents.

        Raises:
            Unavailable: the database does not answer, or the view was replaced meanwhile; also after some batches.
        """
        ...

    async def count(self, query: filters.Find) -> int:
        """How many documents match, but no more than the query's `limit`, which it must have. It looks at no more than are needed for that.

        Documents are not read, so damage is not noticed.

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    async def usage(self, account: str) -> Usage:
        """What the account keeps. It costs time in proportion to its entities, a millisecond for some thousand: not for every request.

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    async def reached(self) -> Reached:
        """The position of the view."""
        ...

    async def wait(self, events: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until the view includes all events below the given offsets. False if that takes longer than `timeout_s` seconds."""
        ...


async def found(batches: AsyncGenerator[list[bytes], None]) -> list[bytes]:
    """All documents of a find, in memory."""
    return [each async for batch in batches for each in batch]


class QueryWriter(Protocol):
    """The operations of the sink."""

    async def apply(self, documents: Sequence[Document], reached: Reached) -> int:
        """Write documents, then (or together with them) the position; returns how many documents were new versions.

        Of a document that the database cannot store as it is, it stores a part that says why (`stand_in`), and tries the whole again later.

        The result is durable on return, or is recovered by resuming from an older `reached`. `reached` has only the partitions
        that moved; positions only move forward. Readers see each document as a whole, at the latest when they see its position;
        whether all documents of a call become visible at the same time depends on the adapter.

        Raises:
            Unavailable: the database does not answer; retry.
            LogDiverged: the view belongs to another epoch; `reset` it first. Nothing was written.
        """
        ...

    async def reset(self) -> None:
        """Delete everything, because the log is another one or the view is to be rebuilt."""
        ...

    async def lost(self) -> None:
        """Return when documents were lost: the view is empty then, and has to be filled again from `reached` on.

        Until it is as far as before, reads are `Unavailable`. Waits without end if the database repairs itself.
        """
        ...

    async def reached(self) -> Reached:
        """The position of the view, from which to resume."""
        ...


class QueryStore(QueryReader, QueryWriter, Protocol):
    """The operations of both."""


class QueryScanner(Protocol):
    """Read-only access to a view from outside while servers are running."""

    async def usage(self, account: str) -> Usage:
        """Like `QueryReader.usage`."""
        ...

    async def reached(self) -> Reached:
        """The position of the view.

        Raises:
            OlderSchema: it is the view of another release.
            Unavailable: the database does not answer.
        """
        ...

    def scan(self) -> AsyncIterator[Sequence[Scanned]]:
        """All documents of all collections in batches, including forgotten ones. Each is in a state it had at some time since the call.

        Raises:
            Fenced: another view has replaced this one; start again.
            Unavailable: the database does not answer.
        """
        ...


class Rebuild(Protocol):
    """A new view that is being built next to the active one; it has no readers yet."""

    async def apply(self, documents: Sequence[Document], reached: Reached) -> int:
        """Like `QueryWriter.apply`, but into the new view.

        Raises:
            Fenced: the active view was reset, or another rebuild has taken over; start again.
            Unavailable: the database does not answer; retry.
            LogDiverged: the new view belongs to another epoch.
        """
        ...

    async def promote(self, beyond: Mapping[int, int] = MappingProxyType({})) -> dict[int, int]:
        """Replace the active view by the new one, in one step; then it returns an empty map, and the context can be closed.

        Readers never see an older or emptier view than before, and writers, including those of other processes, continue in the new
        view. If the active view is ahead of the new one, nothing is changed: the result is, by partition, the next offset of the state
        log up to which documents must be applied first. Apply those, and no more, then call it again.

        `beyond`: by partition, such an offset that the log does not have, because it lost its end. What the active view has seen up to
        there is gone, so it need not be applied, and readers may see an older view.

        Raises:
            Fenced, Unavailable: see `apply`; then it is unknown which of the two views is active.
        """
        ...


class QueryRebuilder(Protocol):
    """Rebuilding a view while servers are running."""

    async def reached(self) -> Reached:
        """The position of the active view."""
        ...

    def rebuild(self) -> AbstractAsyncContextManager[Rebuild]:
        """Begin a new view. Closing the context without a promotion discards it; so does the next rebuild, if this process dies.

        Raises:
            InUse: another rebuild is running.
            Misconfigured: the active view belongs to another release.
            Unavailable: the database does not answer.
        """
        ...


class QueryMaintenance(QueryScanner, QueryRebuilder, Protocol):
    """Maintenance of a view while servers are running."""
