"""MongoDB, as far as both of our databases on it need it. Only this module,
`mongo_batches` and `mongo_errors` know a driver.

It uses only calls that motor and PyMongo Async have in common, so that the driver is one setting (ADR 9). A client belongs to the
event loop in which it was created: open it where it is used. Writes use majority write concern with journaling; reads use majority
read concern on the primary; one document at a time. Time limits are left to the driver, because cancelling a call costs its connection.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Literal

import anyio
import anyio.to_thread
import msgspec
import pymongo
from pymongo import errors as vendor
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from dyff.kernel import mongo_batches, mongo_codes
from dyff.kernel.mongo_errors import opening, translated

Json = Mapping[str, Any]
"""A document, a filter or an update, in MongoDB's notation."""

Order = Sequence[tuple[str, Literal[1, -1]]]

NEVER: Json = {"_id": {"$in": []}}
"""A filter that matches nothing."""

_SLOW_S = 600.0
"""Time limit for operations whose duration depends on the amount of data."""


class Connection(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect to a database, and as whom.

    `uri`: `mongodb://` or `mongodb+srv://`; it can include hosts, user, password and options. `database`: the name of our database.
    `username`, `password`: None to use the URI's. `tls_ca_file`: CA certificates to verify the servers with; if set, TLS is used;
    None to follow the URI. `tls_key_file`: our certificate and key. `driver`: `motor` or `pymongo`. `timeout_s`: limit of each call,
    retries included.
    """

    uri: str
    database: str = "dyff"
    username: str | None = None
    password: str | None = None
    tls_ca_file: str | None = None
    tls_key_file: str | None = None
    driver: Literal["motor", "pymongo"] = "motor"
    timeout_s: float = 10.0

    def options(self) -> dict[str, Any]:
        """Options for the client in addition to the URI; they override the URI's."""
        limit_ms = int(self.timeout_s * 1000)
        given: dict[str, Any] = {
            "username": self.username,
            "password": self.password,
            "tlsCAFile": self.tls_ca_file,
            "tlsCertificateKeyFile": self.tls_key_file,
            "tls": True if self.tls_ca_file or self.tls_key_file else None,
        }
        always = {"appname": "dyff", "timeoutMS": limit_ms, "serverSelectionTimeoutMS": limit_ms, "connectTimeoutMS": limit_ms}
        return {**{name: value for name, value in given.items() if value is not None}, **always, "retryWrites": True, "retryReads": True}


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """An ascending index on `paths`. `only`: a filter; the index covers only documents that match it. None for all documents."""

    name: str
    paths: tuple[str, ...]
    unique: bool = False
    only: dict[str, Any] | None = None


class Database:
    """A MongoDB database; create it with `open`."""

    def __init__(self, database: Any, name: str) -> None:
        self._database, self._name = database, name

    @classmethod
    @asynccontextmanager
    async def open(cls, connection: Connection, name: str) -> AsyncIterator[Database]:
        """Connect, and yield the database once it has answered. `name`: for messages, such as `the query store`.

        Raises:
            Unavailable: it does not answer.
            Misconfigured: it refuses us, or the URI is wrong.
        """
        with opening(), translated(name):
            client = await _client(connection)
        try:
            database = client.get_database(
                connection.database,
                read_preference=ReadPreference.PRIMARY,
                read_concern=ReadConcern("majority"),
                write_concern=WriteConcern("majority", j=True),  # without a wtimeout, since the client limits the time
            )
            with opening(), translated(name):
                await database.command("ping")
            yield cls(database, name)
        finally:
            await _close(connection, client)

    def collection(self, name: str) -> Collection:
        """A collection, which need not exist."""
        return Collection(self._database[name], self._name)

    async def names(self) -> list[str]:
        """Names of the existing collections."""
        with translated(self._name):
            return list(await self._database.list_collection_names())

    async def drop(self) -> None:
        """Delete the whole database."""
        with translated(self._name, changing=True):
            await self._database.client.drop_database(self._database.name)


class Collection:
    """A collection.

    Every method can raise `Unavailable`, also as `Blocked`. Methods that only read can raise `FixRequest`, methods that change something
    `OutcomeUnknown` and `TooLarge`.
    """

    def __init__(self, collection: Any, name: str) -> None:
        """`name`: of the database, for messages."""
        self._collection, self._name = collection, name

    async def ensure(self, indexes: Sequence[Index]) -> None:
        """Create the indexes that do not exist yet."""
        models = [pymongo.IndexModel([(path, 1) for path in each.paths], **_options(each)) for each in indexes]
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.create_indexes(models)

    async def get(self, where: Json, fields: Json | None = None) -> dict[str, Any] | None:
        """One matching document, with all fields or only `fields`; None if no document matches."""
        with translated(self._name):
            found: dict[str, Any] | None = await self._collection.find_one(where, fields)
        return found

    async def find(self, where: Json, fields: Json | None = None, *, order: Order = (), limit: int = 0) -> list[dict[str, Any]]:
        """All matching documents. `limit` 0 for no limit."""
        with translated(self._name):
            cursor = self._collection.find(where, fields, sort=list(order) or None, limit=limit)
            return list(await cursor.to_list(None))

    async def each(
        self, where: Json, fields: Json | None = None, *, order: Order = (), limit: int = 0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """The same, one document at a time: in memory are those of one answer of the database, which has 16 MiB at most. Close it if not
        at its end. If that takes long, documents that change meanwhile can be missing, or come twice.
        """
        with translated(self._name):
            cursor = self._collection.find(where, fields, sort=list(order) or None, limit=limit)
        try:
            while True:
                with translated(self._name):
                    try:
                        document: dict[str, Any] = await anext(cursor)
                    except StopAsyncIteration:
                        return
                yield document
        finally:
            with anyio.CancelScope(shield=True), suppress(vendor.PyMongoError):
                await cursor.close()

    async def aggregate(self, pipeline: Sequence[Json]) -> list[dict[str, Any]]:
        """The documents that a pipeline makes, which must be few."""
        with translated(self._name):
            found = self._collection.aggregate(list(pipeline))
            return list(await (await found if inspect.isawaitable(found) else found).to_list(None))  # PyMongo's must be awaited

    async def insert(self, document: Json) -> bool:
        """Add a document. False if it exists already, or if a value of a unique index is taken."""
        with translated(self._name, changing=True):
            try:
                await self._collection.insert_one(document)
            except vendor.DuplicateKeyError:
                return False
        return True

    async def update(self, where: Json, change: Json) -> bool:
        """Update one matching document. False if none matches, or if a value of a unique index is taken."""
        with translated(self._name, changing=True):
            try:
                result = await self._collection.update_one(where, change)
            except vendor.DuplicateKeyError:
                return False
        return bool(result.matched_count)

    async def changed(self, where: Json, change: Json, *, upsert: bool = False) -> dict[str, Any] | None:
        """Update one matching document and return it as updated; None if none matches. `upsert`: create it in that case."""
        after = pymongo.ReturnDocument.AFTER
        with translated(self._name, changing=True):
            found: dict[str, Any] | None = await self._collection.find_one_and_update(where, change, upsert=upsert, return_document=after)
        return found

    async def replace(self, replacements: Sequence[tuple[Json, Json]]) -> mongo_batches.Replaced:
        """For each (filter, document): replace the matching document, or insert it. Returns which were not done.

        With a filter for "older than this", a filter that matches nothing although the document exists means that the stored one is at
        least as new. A replacement that is not done does not keep the others from being done.
        """
        requests = [pymongo.ReplaceOne(where, document, upsert=True) for where, document in replacements]
        with translated(self._name, changing=True):
            return await mongo_batches.replace(self._collection, requests)

    async def rewrite(self, replacements: Sequence[tuple[Json, Json]]) -> int:
        """For each (filter, document): replace the matching document, if one matches. Returns the number of matches."""
        requests = [pymongo.ReplaceOne(where, document) for where, document in replacements]
        with translated(self._name, changing=True):
            result = await self._collection.bulk_write(requests, ordered=False)
        return int(result.matched_count)

    async def drop_index(self, name: str) -> None:
        """Drop an index, if it exists."""
        with translated(self._name, changing=True):
            try:
                await self._collection.drop_index(name)
            except vendor.OperationFailure as error:
                if error.code not in mongo_codes.ABSENT:
                    raise

    async def drop(self) -> None:
        """Drop the collection with its indexes, if it exists."""
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.drop()

    async def delete(self, where: Json) -> None:
        """Delete all matching documents, for as long as that takes (up to ten minutes)."""
        with translated(self._name, changing=True), pymongo.timeout(_SLOW_S):
            await self._collection.delete_many(where)


async def _client(connection: Connection) -> Any:
    """Create the client. Motor runs PyMongo in threads, except when a client is created or closed, which can block."""
    if connection.driver == "pymongo":
        return pymongo.AsyncMongoClient(connection.uri, **connection.options())
    from motor import motor_asyncio

    loop = asyncio.get_running_loop()
    make = functools.partial(motor_asyncio.AsyncIOMotorClient, connection.uri, io_loop=loop, **connection.options())
    return await anyio.to_thread.run_sync(make)


async def _close(connection: Connection, client: Any) -> None:
    with anyio.CancelScope(shield=True):
        if connection.driver == "pymongo":
            await client.close()
        else:
            await anyio.to_thread.run_sync(client.close)


def _options(index: Index) -> dict[str, Any]:
    given: dict[str, Any] = {"name": index.name}
    if index.unique:
        given["unique"] = True
    if index.only is not None:
        given["partialFilterExpression"] = index.only
    return given
