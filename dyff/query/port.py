"""The query store: documents, and how far along the log they are.

Only the sink writes. A view is eventually consistent with the log; `Reached` says how far it is.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

import msgspec

from dyff.query import filters


class Document(msgspec.Struct, frozen=True):
    """A version of an entity for the view.

    `version`: the source offset of the folded state: an older one never replaces a newer one. `body`: the entity as
    JSON bytes, None: forgotten; what stays is a hidden tombstone with its version.
    """

    collection: str
    id: str
    version: int
    body: bytes | None


class Reached(msgspec.Struct, frozen=True):
    """How far a view is, by partition: the next offset of the state log to read (`state`), and the next offset of the
    events log that is not yet seen through it (`events`). `epoch`: the state log's epoch; None: nothing yet.
    """

    epoch: str | None = None
    state: dict[int, int] = {}
    events: dict[int, int] = {}


class Scanned(msgspec.Struct, frozen=True):
    """A document as it is stored. `sound`: what queries go by agrees with the body, and the body can be read."""

    document: Document
    sound: bool


class QueryReader(Protocol):
    """What the api may do."""

    async def get(self, collection: str, entity_id: str) -> bytes | None:
        """The entity as JSON bytes; None: the view does not have it (yet).

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    async def find(self, query: filters.Find) -> list[bytes]:
        """All documents that match, as JSON bytes.

        Raises:
            Unavailable: the database does not answer.
        """
        ...

    async def reached(self) -> Reached:
        """How far the view is."""
        ...

    async def wait(self, events: Mapping[int, int], timeout_s: float) -> bool:
        """Wait until the view has seen all events below the given offsets; False: not within `timeout_s` seconds."""
        ...


class QueryWriter(Protocol):
    """What the sink may do."""

    async def apply(self, documents: Sequence[Document], reached: Reached) -> int:
        """Write documents, then (or with them) how far the view is; returns how many were news.

        Durable when it returns, or healed by resuming from an older `reached`. `reached` has only the partitions that
        moved; each moves forward only. Readers see each document whole, at the latest when they see its position; whether
        they see all documents of a call at once is up to the adapter.

        Raises:
            Unavailable: the database does not answer; repeat.
            LogDiverged: the view is of another epoch; `reset` it first. Nothing was written.
        """
        ...

    async def reset(self) -> None:
        """Forget everything, because the log is another one or the view is to be rebuilt."""
        ...

    async def reached(self) -> Reached:
        """How far the view is: where to resume."""
        ...


class QueryStore(QueryReader, QueryWriter, Protocol):
    """Both."""


class QueryScanner(Protocol):
    """Read-only access to a view for verification while servers are running."""

    async def reached(self) -> Reached:
        """How far the view is."""
        ...

    def scan(self) -> AsyncIterator[Sequence[Scanned]]:
        """All documents of all collections in batches, also the forgotten. Each is as it was at some moment since the call.

        Raises:
            Fenced: another view has taken the place of this one; begin again.
            Unavailable: the database does not answer.
        """
        ...


class Rebuild(Protocol):
    """A new view that is built next to the present one; it has no readers yet."""

    async def apply(self, documents: Sequence[Document], reached: Reached) -> int:
        """As `QueryWriter.apply`, into the new view.

        Raises:
            Fenced: the present view was reset, or another rebuild has taken over; begin again.
            Unavailable: the database does not answer; repeat.
            LogDiverged: the new view is of another epoch.
        """
        ...

    async def promote(self) -> dict[int, int]:
        """Put the new view in the place of the present one, in one step; returns nothing then, and its context may be left.

        Readers see no older and no emptier view than before, and writers go on in the new one, also those of other processes. If
        the present view is further than the new one nothing is changed: returned is, by partition, the next offset of the state log up to
        which documents must be applied first. Apply those, and no more, then call it again.

        Raises:
            Fenced, Unavailable: see `apply`; which of both is the present one is not known then.
        """
        ...


class QueryRebuilder(Protocol):
    """Rebuilding a view while servers are running."""

    async def reached(self) -> Reached:
        """How far the present view is."""
        ...

    def rebuild(self) -> AbstractAsyncContextManager[Rebuild]:
        """Begin a new view. Leaving it without a promotion forgets it; so does the next rebuild, if this process dies.

        Raises:
            InUse: another rebuild is running.
            Misconfigured: the present view is of another release.
            Unavailable: the database does not answer.
        """
        ...


class QueryMaintenance(QueryScanner, QueryRebuilder, Protocol):
    """Maintenance of a view while servers are running."""
